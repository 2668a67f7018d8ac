"""Using a pack: the course, its wheels and their checksums in one folder, for a classroom without network.

Its checksums show damage, not origin: whoever can change a file can change its checksum. What pip installs from it must
also have the SHA-256 that the lock names. Standard library alone, for a pack is read before there is a .venv.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from tools.ground import (
    COMMAND,
    FOLDER,
    GIGABYTES,
    GPU_LOCK,
    LOCK,
    OWN_LOCK,
    REQUIREMENTS,
    ROOM,
    ROOT,
    Problem,
    classroom,
    environment,
    hand_over,
    sha256,
    text_digest,
    unless_read_only,
    write_json,
)

PACKAGES = (REQUIREMENTS, LOCK, OWN_LOCK, GPU_LOCK)  # the files that decide what is installed
SUMS = "SHA256SUMS"  # of every file of a pack, as `sha256sum -c` reads it; a pack without it is unfinished
COPY = Path(os.path.expanduser("~"), FOLDER)  # the course of somebody who starts from a stick
AGAIN = "copy the pack again, or take another stick"
# A part of a name that FAT32 or exFAT can't hold, or that leads out of the pack: "", "..", a drive, a backslash.
BAD_PART = re.compile(r'(?i)|(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*[. ]|.*[<>:"|?*\\\x00-\x1f].*')
LEFT_BEHIND = re.compile(r"(\._.*|\.DS_Store|Thumbs\.db|desktop\.ini)")  # by systems that show a folder
WORDS = (
    "alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey x-ray yankee zulu"
).split()


# ------------------------------------------------------------------------------------------------- started in a pack


def pack_around():
    """Return the pack, whole or not, that this very course lies in, or None."""
    signs = [ROOT.parent / name for name in ("wheels", "pack.json", SUMS)]
    return ROOT.parent if ROOT.name == "course" and any(sign.exists() for sign in signs) else None


def go_on_from_a_copy(around, arguments, pack):
    """Go on with the course in the home folder: a stick is slow, may be read-only, and goes back to the instructor."""
    facts, sums = read_pack(around)
    if not os.path.lexists(COPY):
        names = [name for name in sums if name.startswith("course/")]
        check_files(around, names, sums)
        unfinished = COPY.with_name(f"{COPY.name}.unfinished-{os.getpid()}")
        try:
            for name in names:
                target = unfinished / name.removeprefix("course/")
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(around / name, target)
            os.rename(unfinished, COPY)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        print(f"The course was copied to {COPY}.", flush=True)
    elif not all((COPY / name).exists() for name in ("start.py", "helpers", "notebooks")):
        raise Problem(
            f"{COPY} is there, and it is not this course: give it another name and run the same command again."
        )
    else:
        print(f"Going on with your course in {COPY}.", flush=True)
        if check_word(COPY) != check_word(ROOT):
            print(f"Note: the pack holds another version. To change to it, give {COPY} another name first.", flush=True)
    more = [] if pack else [f"--from={around}"]
    return hand_over([sys.executable, COPY / "start.py", *arguments, *more], os.environ)


def remember(pack):
    """Note which pack this course is set up from, and the track of its room, for every later start."""
    try:
        theirs = json.loads((pack / "course" / ROOM.name).read_text(encoding="utf-8"))  # checked with all the others
    except OSError:
        theirs = {}
    with unless_read_only():
        write_json(ROOM, {**classroom(), **theirs, "pack": str(pack)})


def remembered():
    """Return the pack that this course was set up from, if it is there and fits. Says so when it does not."""
    if "pack" not in classroom():
        return None
    pack = Path(classroom()["pack"])
    try:
        fits_still = json.loads((pack / "pack.json").read_text(encoding="utf-8"))["packages"] == packages_digest()
    except (OSError, ValueError, KeyError, TypeError):
        fits_still = False
    if not fits_still:
        print(f"The pack in {pack} is not there, or is for another version: using the network instead.", flush=True)
    return pack if fits_still else None


def check_word(course):
    """Return two words that are the same wherever the course's code and its packages are the same.

    Notebooks are left out, for learners write into them.
    """
    paths = [course / path.relative_to(ROOT) for path in PACKAGES]
    paths += [course / "pyproject.toml", *(course / "helpers").rglob("*.py")]
    digest = hashlib.sha256()
    for path in sorted((path for path in paths if path.exists()), key=lambda path: path.parts):
        digest.update(text_digest(path.read_bytes()).encode())
    first, second = divmod(int(digest.hexdigest(), 16) % len(WORDS) ** 2, len(WORDS))
    return f"{WORDS[first]} {WORDS[second]}"


# ------------------------------------------------------------------------------------------------------ which computer


def this_computer():
    """Return what decides which wheels fit: {"platform": …, "machine": …, "python": …}."""
    name = {"Darwin": "macos", "Windows": "windows"}.get(platform.system(), platform.system().lower())
    machine = "AMD64" if name == "windows" and sysconfig.get_platform() == "win-amd64" else platform.machine()
    return {"platform": name, "machine": machine, "python": f"{sys.version_info[0]}.{sys.version_info[1]}"}


def target_words(target):
    usual = target["machine"] in ("x86_64", "AMD64", "arm64")
    return f"{target['platform']}{'' if usual else ' on ' + target['machine']} with Python {target['python']}"


def entry_for_this_computer(pack, facts):
    """Return the entry of pack.json for this computer's system and Python. Raises Problem where there is none."""
    here = this_computer()
    entries = [entry for entry in facts["serves"] if here.items() <= entry.items()]
    if entries:
        return entries[0]
    serves = "; ".join(map(target_words, facts["serves"]))
    others = [
        entry["python"] for entry in facts["serves"] if dict(here, python=entry["python"]).items() <= entry.items()
    ]
    installed = [f"python{python}" for python in others if shutil.which(f"python{python}")]
    if installed:
        cure = f"run it with `{installed[0]}`"
    elif others:
        cure = f"install Python {others[-1]} and run start.py with it"
    else:
        cure = "ask for a pack that serves it"
    raise Problem(f"The pack in {pack} serves {serves}, but not {target_words(here)}: {cure}.")


# ------------------------------------------------------------------------------------------------ read and checked


def read_pack(pack):
    """Return what pack.json says, and {name: SHA-256} of the pack's files. Raises Problem unless both are well."""
    if not pack.is_dir():
        raise Problem(f"There is no folder {pack}: plug the stick in, or check the name after --from.")
    try:
        sums = read_sums(pack / SUMS)
    except OSError:
        raise Problem(
            f"{pack} holds no finished pack, for its file {SUMS} is missing: check the name, or {AGAIN}."
        ) from None
    except ValueError:
        raise Problem(f"{pack / SUMS} is damaged: {AGAIN}.") from None
    check_files(pack, ["pack.json"], sums)
    refuse_unlisted(pack, sums)
    return json.loads((pack / "pack.json").read_text(encoding="utf-8")), sums


def read_sums(path):
    """Return {name: SHA-256} from a file of checksums. Raises ValueError when it is not as `pack` writes it."""
    sums, seen = {}, set()
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"([0-9a-f]{64})  (.+)", line)
        if not found or not fits(found[2]) or found[2].lower() in seen:
            raise ValueError(line)
        sums[found[2]] = found[1]
        seen.add(found[2].lower())
    return sums


def fits(name):
    """Can a stick hold a file of this name, and does it lie inside the pack?"""
    return not any(BAD_PART.fullmatch(part) for part in name.split("/"))


def refuse_unlisted(pack, sums):
    """Raise Problem for a file in the pack's own two folders that the checksums don't list.

    First for a missing file of the course: where a name in the list is damaged, one is missing and another unlisted.
    """
    check_files(pack, [name for name in sums if name.startswith("course/") and not os.path.lexists(pack / name)], sums)
    for path in [*(pack / "course").rglob("*"), *(pack / "wheels").rglob("*")]:
        listed = path.relative_to(pack).as_posix() in sums or LEFT_BEHIND.fullmatch(path.name)
        if not listed and (path.is_symlink() or not path.is_dir()):
            raise Problem(
                f"{path} does not belong to the pack ({SUMS} doesn't list it): move it out of the pack, or take "
                "another stick if you don't know who put it there."
            )


def check_files(pack, names, sums):
    """Raise Problem for the first of these files that is missing, damaged, or can't be read."""
    for name in names:
        path = pack / name
        try:
            state = "damaged" if sha256(path) != sums.get(name) else None
        except OSError as error:
            state = "missing" if not os.path.lexists(path) else f"unreadable ({error.strerror})"
        if state:
            raise Problem(f"{path} is {state}: {AGAIN}.")


def check_pack(pack):
    """Check all that this computer needs of a pack. Returns the GB that a set-up from it needs."""
    facts, sums = read_pack(pack)
    entry = entry_for_this_computer(pack, facts)
    if packages_digest() != facts["packages"]:
        raise Problem(
            f"The pack in {pack} is for another version of the course than {ROOT}: give that folder another name, "
            f"and start the pack's own {pack / 'course' / 'start.py'}."
        )
    print(f"Checking the files in {pack}. A slow stick takes a minute or two.", flush=True)
    wheels = ["wheels/" + name for name in entry["wheels"]]
    check_files(pack, wheels + [name for name in sums if not name.startswith("wheels/")], sums)
    size = sum((pack / name).stat().st_size for name in wheels)
    return min(GIGABYTES, 5 * size / 1e9)  # unpacked and compiled, with what pip needs meanwhile


# ------------------------------------------------------------------------------------------------- what pip is told


def packages_digest(read=Path.read_bytes):
    """Return what changes when other packages are to be installed."""
    for path in PACKAGES:
        if not path.exists():
            raise Problem(f"{path} is missing: fetch the course again.")
    return text_digest(b"".join(map(read, PACKAGES)))


def pack_environment():
    """Return the environment for a pip that looks nowhere but into the pack, whatever this computer's settings are."""
    env = {name: value for name, value in environment().items() if not name.startswith("PIP_")}
    return env | {"PIP_USER": "0", "PIP_CONFIG_FILE": os.devnull}


def no_match(pack, reason):
    """Return the sentence for a pack whose wheels pip can't use."""
    return (
        f"The wheels in {pack} don't fit this computer, whose system may be too old for them ({reason}): where there "
        f"is a network, run `{COMMAND}` in {ROOT} without --from."
    )
