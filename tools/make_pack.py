"""What `start.py pack` does: the course, its wheels and their checksums in one folder, for a classroom without network.

    python -m tools.make_pack DIR TRACK TARGET…    make the pack, or go on with one

A TARGET is linux-3.11, macos-3.13, …; the TRACK is that of the room, or "": then each computer chooses its own.

It runs with the Python of .venv, because it needs pip. pack.py uses a pack (`--from DIR`).

A pack holds the committed files without git's history: participants need none, many have no git, and the set-up never
asks for it. SHA256SUMS is written last and under its real name only when all the rest is there: without it, no set-up
starts. Everything is plain files with names that FAT32 and exFAT can hold: no links, no execute bits, none of 4 GiB.
"""

import fnmatch
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from pathlib import Path

from tools import ground, lock, pack, setup
from tools.ground import ROOT, Problem, write

# GB on the stick. Measured on one Python: 0.6 for Linux (torch for processors), 1.2 for Linux, macOS and Windows.
# The GPU libraries that the usual torch for Linux brings are an estimate.
SHARED, EACH, GPU_LIBRARIES = 0.3, 0.35, 3.5


def target_of(text):
    """Return {"platform": …, "machine": …, "python": …} for a name such as linux-3.11."""
    platform, _, python = text.partition("-")
    here = pack.this_computer()
    machine = here["machine"] if platform == here["platform"] == "linux" else dict(reversed(lock.COMPUTERS))[platform]
    return {"platform": platform, "machine": machine, "python": python}


# -------------------------------------------------------------------------------------------------------- the wheels


def fetch(target, wheels):
    """Fetch what `target` needs and `wheels` lacks. Returns the names of its wheels."""
    try:
        entries = fetch_locked(target, wheels, ground.OWN_LOCK)
    except CannotBeHad:
        entries = []
    with tempfile.TemporaryDirectory() as folder:
        rest, own = Path(folder, "rest.lock"), {lock.normal(entry["metadata"]["name"]) for entry in entries}
        rest.write_text(lock.without(ground.LOCK.read_text(encoding="utf-8"), own), encoding="utf-8")
        entries += fetch_locked(target, wheels, rest)
    if target["platform"] == "linux" and lock.needs_gpu_libraries(entries):
        entries += fetch_locked(target, wheels, ground.GPU_LOCK)
    return sorted(urllib.parse.unquote(entry["download_info"]["url"].rpartition("/")[2]) for entry in entries)


def fetch_locked(target, wheels, path):
    """Fetch what a lock file names, then let pip choose from the pack alone, as it will in the classroom."""
    locked = (*lock.HASHED, "-r", str(path))
    said = lock.pip(target, "download", "-d", str(wheels), *locked)
    if said is None:
        return lock.choose(target, *locked, "--no-index", "--find-links", str(wheels), offline=True)
    problem = setup.install_problem(said)
    if problem == ground.DISK_FULL:
        raise Problem(
            f"{wheels.parent} or the folder for temporary files is full: free some space, or take a larger stick, and "
            "run the same command again; it goes on where it stopped."
        )
    if problem and "pip finds no" not in problem:
        raise Problem(problem)
    missing = re.search(r"No matching distribution found for ([^\s;]+)", said)
    raise CannotBeHad(f"no wheel of {missing[1]}" if missing else ground.last_line(said))


class CannotBeHad(Exception):
    """What a target needs is not to be had: the others go on without it."""


# -------------------------------------------------------------------------------------------------------- the course


def course_files(leave_out):
    """Return {name: bytes} of the course: what is committed, or what lies here where there is no git.

    leave_out   folders that are never part of it
    """
    try:
        archive = subprocess.run(["git", "archive", "--format=zip", "HEAD"], cwd=ROOT, capture_output=True)
        changed = subprocess.run(["git", "status", "--porcelain", "."], cwd=ROOT, capture_output=True)
    except OSError:
        archive = None
    if archive and archive.returncode == 0:
        if changed.stdout:
            print("Note: it holds the last commit; what has changed here since is not in it.", flush=True)
        with zipfile.ZipFile(io.BytesIO(archive.stdout)) as whole:
            files = {entry.filename: whole.read(entry) for entry in whole.infolist() if not entry.is_dir()}
            links = [entry.filename for entry in whole.infolist() if entry.external_attr >> 28 == 0o12]
    else:
        print(
            "Note: this is no git checkout, so notebooks are packed as they are, with any answers in them.", flush=True
        )
        files, links, ignored = {}, [], [".git"]
        if (ROOT / ".gitignore").exists():
            lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
            ignored += [line.strip("/") for line in lines if line and not line.startswith("#")]
        for path in ROOT.rglob("*"):
            name = path.relative_to(ROOT)
            if not leave_out.isdisjoint({path, *path.parents}):
                continue
            if any(fnmatch.fnmatch(part, pattern) for part in name.parts for pattern in ignored):
                continue
            if path.is_symlink():
                links.append(name.as_posix())
            elif path.is_file():
                files[name.as_posix()] = path.read_bytes()
    if links:
        raise Problem(f"{links[0]} is a link, which a stick can't hold: put the file itself there.")
    return files


def write_zip():
    """Write the course into one file, for notebooks that are opened alone, in Colab say. Needs no .venv and no pip.

    A setup cell (address.py) unpacks it, and takes it for unpacked once the last file is there.
    """
    path, last = ROOT / f"{ground.FOLDER}.zip", "tools/colab.py"
    files = course_files({ground.VENV, path})
    unfinished = path.with_name(f"{path.name}.unfinished")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as whole:
        for name in sorted(files, key=lambda name: (name == last, name)):
            whole.writestr(f"{ground.FOLDER}/{name}", files[name])
    os.replace(unfinished, path)
    print(
        f"{path} holds the course ({path.stat().st_size / 1e6:.1f} MB). Give it to people together with the notebooks: "
        "where one is opened alone, in Colab say, they drag the zip beside it."
    )
    return 0


def check_names(names):
    """Raise Problem for a name that FAT32 or exFAT can't hold, or that two files would share there."""
    seen = {}
    for name in names:
        if not pack.fits(name):
            raise Problem(f"{name} has a name that a stick can't hold: rename it.")
        if seen.setdefault(name.lower(), name) != name:
            raise Problem(f"{seen[name.lower()]} and {name} are one name on a stick: rename one of them.")


def write_course(folder, files):
    """Write the course's files into `folder`, by way of a temporary one."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for name, content in files.items():
        (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
        (unfinished / name).write_bytes(content)
    unfinished.rename(folder)


# ---------------------------------------------------------------------------------------------------------- the pack


def make(folder, track, targets):
    """Make a pack in `folder` for these targets. It may be stopped at any moment, and started again."""
    files = course_files(leave_out={folder, ground.VENV, Path(f"{ground.VENV}.lock")})
    files.pop(ground.ROOM.name, None)  # where this course itself came from is nobody else's business
    if track:
        files[ground.ROOM.name] = json.dumps({"track": track}).encode()
    check_names(files)
    packages = pack.packages_digest()
    if packages != pack.packages_digest(lambda path: files[path.relative_to(ROOT).as_posix()]):
        raise Problem(
            "requirements.txt or its lock was changed and not committed: commit it first, for the pack holds the last "
            "commit."
        )
    wheels, course = folder / "wheels", folder / "course"
    begin(folder)
    check_disk(folder, targets, sum(path.stat().st_size for path in wheels.iterdir()))

    served, missing = [], []
    for number, target in enumerate(targets, 1):
        print(f"\n{number} of {len(targets)}: wheels for {pack.target_words(target)}", flush=True)
        try:
            names = fetch(target, wheels)
        except CannotBeHad as problem:
            print(f"Can't be had: {problem}", flush=True)
            missing.append({**target, "problem": str(problem)})
            continue
        served.append({**target, "wheels": names})
    if not served:
        raise Problem(
            f"Nothing was packed: {pack.target_words(missing[0])} can't be had ({missing[0]['problem']}). Check the "
            "network first, and then requirements.txt."
        )

    used = {name for target in served for name in target["wheels"]}
    for path in wheels.glob("*.whl"):
        if path.name not in used:
            path.unlink()
    check_names(used)
    for name in used:
        if (wheels / name).stat().st_size >= 2**32:
            raise Problem(f"{name} has 4 GiB or more, which a stick can't hold: leave its platform out.")
    facts = {"packages": packages, "serves": served, "missing": missing}
    write(folder / "pack.json", json.dumps(facts, indent=1))
    write(folder / "START-HERE.txt", start_here(served, missing))
    write_course(course, files)
    packed = [folder / "pack.json", folder / "START-HERE.txt", *wheels.glob("*.whl"), *course.rglob("*")]
    sums = {path.relative_to(folder).as_posix(): ground.sha256(path) for path in packed if path.is_file()}
    write(folder / pack.SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    if hasattr(os, "sync"):
        os.sync()  # a stick that is pulled out early is whole, if its user waited for this program
    print_summary(folder, served, missing, sums)


def begin(folder):
    """Make an unfinished pack of `folder`: its checksums and its course go. Nothing goes that `pack` has not made.

    The wheels stay, for pip compares them with the lock, and fetches again what is damaged.
    """
    sums, unfinished = folder / pack.SUMS, folder / (pack.SUMS + ".unfinished")
    try:
        known = pack.read_sums(sums)
    except (OSError, ValueError):
        known = {}
    courses = [folder / "course", folder / "course.unfinished"]
    for path in (*courses, folder / "wheels", sums):
        if path.exists() and "pack.json" not in known and not unfinished.exists():
            raise Problem(f"{path} is there, and `pack` did not make it: name an empty folder.")
    if sums.exists():
        pack.refuse_unlisted(folder, known)
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    sums.unlink(missing_ok=True)
    for path in courses:
        shutil.rmtree(path, ignore_errors=True)


def check_disk(folder, targets, fetched):
    """Raise Problem unless the disk is likely to hold the wheels of these targets."""
    needed = SHARED + EACH * len(targets)
    own_torch_is_small = any((ground.site_packages() or ROOT).glob("torch-*+cpu.dist-info"))
    if not own_torch_is_small:
        needed += GPU_LIBRARIES * any(target["platform"] == "linux" for target in targets)
    needed, free = max(0.05, needed - fetched / 1e9), setup.free_gigabytes(folder)
    if free < needed:
        raise Problem(
            f"Only {free:.1f} GB are free in {folder}, and this pack may need {needed:.1f} GB: take a larger stick, or "
            "fewer platforms or Pythons."
        )


def start_here(served, missing):
    """Return the page for a participant who looks at the stick."""
    lines = [
        "Fine-Tuning BERT, with Evidence: the whole course, for a computer without network.",
        "",
        "It serves:  " + "; ".join(pack.target_words(target) for target in served),
        *(f"It can't serve {pack.target_words(entry)}: {entry['problem']}." for entry in missing),
        "",
        "Open a terminal and start start.py in the folder course beside this file with one of these Pythons:",
        "",
        "    Windows   python E:\\course\\start.py                 (E: is the stick)",
        "    macOS     python3 /Volumes/STICK/course/start.py",
        "    Linux     python3 /media/YOU/STICK/course/start.py",
        "",
        "It copies the course to the folder bert-finetuning-course in your home folder, checks every file it needs,",
        "sets the course up there and opens it. Nothing is fetched. After that the stick is no longer needed.",
        "",
        "To find damage: `sha256sum -c SHA256SUMS` in this folder (macOS: `shasum -a 256 -c SHA256SUMS`). It can't",
        "tell where a stick comes from: whoever can change its files can change their checksums. Ask the person.",
    ]
    return "\n".join(lines) + "\n"


def print_summary(folder, served, missing, sums):
    """Print what the pack serves, what it can't, and what to do next."""
    size = sum((folder / name).stat().st_size for name in sums)
    print(f"\n{'for':32}{'wheels':>8}{'MB':>8}")
    for target in served:
        megabytes = sum((folder / "wheels" / name).stat().st_size for name in target["wheels"]) / 1e6
        print(f"{pack.target_words(target):32}{len(target['wheels']):8}{megabytes:8.0f}")
    for entry in missing:
        print(f"{pack.target_words(entry):32}can't be had: {entry['problem']}")
    print(f"\nThe pack in {folder} is whole: {len(sums)} files, {size / 1e6:.0f} MB.")
    print(f"Eject the stick before you pull it out; `{ground.COMMAND} doctor --from {folder}` checks it again.")


def main(folder, track, *targets):
    try:
        make(Path(folder), track, [target_of(text) for text in targets])
    except OSError as error:
        raise Problem(
            f"The pack in {folder} can't be written ({error.strerror}): check the folder and its disk, and run the "
            "same command again; it goes on where it stopped."
        ) from error
    return 0


if __name__ == "__main__":
    ground.as_program(main, *sys.argv[1:])
