"""What `start.py pack` does: the course, its wheels and their checksums in one folder, for a classroom without network.

    make_pack.py make DIR TARGET…           make the pack, or go on with one; a TARGET is linux-3.11, macos-3.13, …
    make_pack.py pip TARGET ARGUMENT…       run pip as if it ran on that computer

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
import runpy
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from pathlib import Path

from tools import ground, pack, setup
from tools.ground import ROOT, Problem

# What a wheel's file name may ask of each kind of computer. torch decides on macOS 14 and on Linux with glibc 2.28.
TAGS = {
    "linux": [
        *(f"manylinux_2_{minor}_{{machine}}" for minor in range(28, 4, -1)),
        *("manylinux2014_{machine}", "manylinux2010_{machine}", "manylinux1_{machine}", "linux_{machine}"),
    ],
    "macos": ["macosx_14_0_arm64"],
    "windows": ["win_amd64"],
}
NAMES = {
    "linux": ("posix", "linux", "Linux"),
    "macos": ("posix", "darwin", "Darwin"),
    "windows": ("nt", "win32", "Windows"),
}
MACHINES = {"linux": "x86_64", "macos": "arm64", "windows": "AMD64"}
# GB on the stick. Measured on one Python: 0.6 for Linux (torch for processors), 1.2 for Linux, macOS and Windows.
# The GPU libraries that the usual torch for Linux brings are an estimate.
SHARED, EACH, GPU_LIBRARIES = 0.3, 0.35, 3.5


def target_of(text):
    """Return {"platform": …, "machine": …, "python": …} for a name such as linux-3.11."""
    platform, _, python = text.partition("-")
    here = pack.this_computer()
    machine = here["machine"] if platform == here["platform"] == "linux" else MACHINES[platform]
    return {"platform": platform, "machine": machine, "python": python}


# ------------------------------------------------------------------------------------------ pip for another computer


def markers(target):
    """Return the environment markers of another computer, which decide what a package requires there."""
    os_name, sys_platform, system = NAMES[target["platform"]]
    return {
        "implementation_name": "cpython",
        "implementation_version": target["python"] + ".0",
        "os_name": os_name,
        "platform_machine": target["machine"],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": target["python"] + ".0",
        "python_version": target["python"],
        "sys_platform": sys_platform,
    }


def pip_elsewhere(target, arguments):
    """Run pip with another computer's markers.

    pip's own --platform chooses the wheels, but asks *this* computer what they require: packed on Linux, a pack for
    Windows would lack colorama and hold Linux's GPU libraries.
    """
    from pip._vendor.packaging import markers as pips

    pips.default_environment = lambda: markers(target)
    system = markers(target)["platform_system"]
    if not pips.Marker(f'platform_system == "{system}" and python_version == "{target["python"]}"').evaluate():
        sys.exit("This pip can't pretend to run on another computer: run `python -m pip install pip==25.3` in .venv.")
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__")


def pip(target, command, *options, offline=False, quiet=False):
    """Run one pip command for `target`. Returns what it said on stderr, or None when it went well."""
    env = pack.pack_environment() if offline else ground.environment()
    done = subprocess.run(
        ground.module("tools.make_pack", "pip", pack.target_name(target), command, python=sys.executable)
        + ["--no-input", "--disable-pip-version-check"]
        + ["--only-binary=:all:", "--implementation=cp", f"--python-version={target['python']}"]
        + [f"--platform={tag.format(machine=target['machine'])}" for tag in TAGS[target["platform"]]]
        + ["-r", str(ground.REQUIREMENTS), *map(str, options)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL if quiet else None,
        stderr=subprocess.PIPE,
    )
    return done.stderr.decode(errors="replace") if done.returncode else None


def fetch(target, wheels):
    """Fetch what `target` needs and `wheels` lacks. Returns the sentence that says what can't be had, or None."""
    said = pip(target, "download", "-d", wheels)
    if said is None:
        return None
    problem = setup.install_problem(said)
    if problem and "disk is full" in problem:
        raise Problem(
            f"{wheels.parent} or the folder for temporary files is full: free some space, or take a larger stick, and "
            "run the same command again; it goes on where it stopped."
        )
    if problem and "can't reach" in problem:
        raise Problem(problem)
    missing = re.search(r"No matching distribution found for (\S+)", said)
    return f"no wheel of {missing[1].rstrip(';')}" if missing else ground.last_line(said)


def rehearse(target, wheels):
    """Let pip choose for `target` from the pack alone, as it will in the room. Returns the names of the wheels."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        said = pip(
            target,
            "install",
            *("--dry-run", "--quiet", "--no-index", "--find-links", wheels, "--target", folder, "--report", report),
            offline=True,
        )
        if said is not None:
            raise Problem(
                f"The wheels for {pack.target_words(target)} don't suffice ({ground.last_line(said)}): run the same "
                "command again."
            )
        with open(report, encoding="utf-8") as file:
            chosen = json.load(file)["install"]
    return sorted(urllib.parse.unquote(item["download_info"]["url"].rpartition("/")[2]) for item in chosen)


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
            print("Note: the pack holds the last commit; what has changed here since is not in it.", flush=True)
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
        for folder, folders, names in os.walk(ROOT):
            for name in [*folders, *names]:
                path = Path(folder, name)
                if any(fnmatch.fnmatch(name, pattern) for pattern in ignored) or path in leave_out:
                    (folders if name in folders else names).remove(name)
                elif path.is_symlink():
                    links.append(path.relative_to(ROOT).as_posix())
            for name in names:
                path = Path(folder, name)
                files[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    if links:
        raise Problem(f"{links[0]} is a link, which a stick can't hold: put the file itself there.")
    return files


def check_names(names):
    """Raise Problem for a name that FAT32 or exFAT can't hold, or that two files would share there."""
    seen = {}
    for name in names:
        for part in name.split("/"):
            reserved = re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", part)
            if reserved or re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', part):
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


def make(folder, targets):
    """Make a pack in `folder` for these targets. It may be stopped at any moment, and started again."""
    files = course_files(leave_out=(folder, ground.VENV, Path(f"{ground.VENV}.lock")))
    check_names(files)
    requirements = ground.text_digest(ground.REQUIREMENTS.read_bytes())
    if requirements != ground.text_digest(files["requirements.txt"]):
        raise Problem(
            "requirements.txt was changed and not committed: commit it first, for the pack holds the last commit."
        )
    wheels, course = folder / "wheels", folder / "course"
    known = begin(folder)
    check_disk(folder, targets, sum(path.stat().st_size for path in wheels.iterdir()))

    served, missing = [], []
    for number, target in enumerate(targets, 1):
        print(f"\n{number} of {len(targets)}: wheels for {pack.target_words(target)}", flush=True)
        problem = fetch(target, wheels)
        if problem:
            print(f"Can't be had: {problem}", flush=True)
            missing.append({**target, "problem": problem})
            continue
        for path in wheels.iterdir():
            if path.name not in known:
                known[path.name] = ground.sha256(path)
        write_sums(folder, {f"wheels/{name}": digest for name, digest in known.items()})
        served.append({**target, "wheels": rehearse(target, wheels)})
    if not served:
        raise Problem(
            f"Nothing was packed: {pack.target_words(missing[0])} can't be had ({missing[0]['problem']}). Check the "
            "network first, and then requirements.txt."
        )

    used = {name for target in served for name in target["wheels"]}
    for path in wheels.iterdir():
        if path.name not in used:
            path.unlink()
            known.pop(path.name, None)
    check_names(used)
    for name in used:
        if (wheels / name).stat().st_size >= 2**32:
            raise Problem(f"{name} has 4 GiB or more, which a stick can't hold: leave its platform out.")
    write(
        folder / "pack.json", json.dumps({"requirements": requirements, "serves": served, "missing": missing}, indent=1)
    )
    write(folder / "START-HERE.txt", start_here(served, missing))
    write_course(course, files)
    sums = {f"wheels/{name}": known[name] for name in used}
    for path in (
        folder / "pack.json",
        folder / "START-HERE.txt",
        *(path for path in course.rglob("*") if path.is_file()),
    ):
        sums[path.relative_to(folder).as_posix()] = ground.sha256(path)
    write_sums(folder, sums)
    os.replace(folder / (pack.SUMS + ".unfinished"), folder / pack.SUMS)
    if hasattr(os, "sync"):
        os.sync()  # a stick that is pulled out early is whole, if its user waited for this program
    print_summary(folder, served, missing, sums)


def begin(folder):
    """Take the name of a finished pack from `folder`, and what is damaged out of its wheels.

    Returns {name: SHA-256} of the wheels that are well.
    """
    sums, unfinished = folder / pack.SUMS, folder / (pack.SUMS + ".unfinished")
    try:
        ours = unfinished.exists() or "pack.json" in pack.read_sums(sums)
    except (OSError, ValueError):
        ours = False
    for path in (folder / "course", folder / "wheels", sums):
        if path.exists() and not ours:
            raise Problem(f"{path} is there, and `pack` did not make it: name an empty folder.")
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    if sums.exists():
        os.replace(sums, unfinished)
    try:
        known = pack.read_sums(unfinished)
    except (OSError, ValueError):
        known = {}
    for name in ("course", "course.unfinished"):
        shutil.rmtree(folder / name, ignore_errors=True)
    well = {}
    for path in (folder / "wheels").iterdir():
        if known.get(f"wheels/{path.name}") == ground.sha256(path):
            well[path.name] = known[f"wheels/{path.name}"]
        else:
            path.unlink()
    write_sums(folder, {f"wheels/{name}": digest for name, digest in well.items()})
    if well:
        print(f"{len(well)} wheels are there already, with the right checksums.", flush=True)
    return well


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


def write(path, text):
    """Write a file by way of a temporary one, so that it is never half there."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8", newline="\n")
    os.replace(unfinished, path)


def write_sums(folder, sums):
    """Write checksums as `sha256sum` does, under the name of an unfinished pack."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    write(folder / (pack.SUMS + ".unfinished"), lines)


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
        "To check the stick: `sha256sum -c SHA256SUMS` (macOS: `shasum -a 256 -c SHA256SUMS`) in this folder.",
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


def main(command, *arguments):
    if command == "pip":
        return pip_elsewhere(target_of(arguments[0]), arguments[1:])
    folder = Path(arguments[0])
    try:
        make(folder, [target_of(text) for text in arguments[1:]])
    except OSError as error:
        raise Problem(
            f"The pack in {folder} can't be written ({error.strerror}): check the folder and its disk, and run the "
            "same command again; it goes on where it stopped."
        ) from error
    return 0


if __name__ == "__main__":
    ground.as_program(main, *sys.argv[1:])
