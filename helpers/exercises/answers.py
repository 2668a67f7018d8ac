"""Keep right answers in outputs/answers/, so that progress outlives a restart. They are checked again, never trusted.

Kept is what makes an answer anew without the notebook around it: a letter or a value as it is, a function or class as
source code, with the imports and small definitions of other cells that it uses. Nothing is sent anywhere.

Code is run again only where this account kept it: a stamp beside it needs the secret in the learner's home. So a folder
that somebody else has filled can't do anything here.
"""

import ast
import builtins
import hmac
import json
import os
import re
import secrets
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from helpers.exercises.compare import plain
from helpers.exercises.limits import run_limited
from helpers.track import output_folder

LONGEST = 2000  # characters of a value of another cell, an answer's list of settings say
SECRET = Path(os.path.expanduser("~"), ".bert-finetuning-course")  # fails only where it is used, if there is no home
SECONDS = 20  # that an answer may take to be made anew: it may import torch


def file_of(notebook):
    """Where the answers to a notebook's exercises are kept: its name is "nb01", say."""
    return output_folder() / "answers" / f"{notebook}.json"


def kept(notebook):
    """Return {name of an exercise: {"value": …} or {"code": …}}; nothing when there is no file, or a damaged one.

    The environment variable COURSE_FRESH is set where a notebook is run as nobody has answered it.
    """
    with suppress(OSError, ValueError):
        answers = json.loads(file_of(notebook).read_text(encoding="utf-8"))
        if isinstance(answers, dict) and not os.environ.get("COURSE_FRESH"):
            return {name: answer for name, answer in answers.items() if isinstance(answer, dict)}
    return {}


def keep(task, answer):
    """Keep a right answer that was given in a notebook. A check must not fail because this does."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    if shell is None or os.environ.get("COURSE_FRESH"):
        return
    with suppress(Exception):
        notebook, name = place_of(task)
        by_value = not hasattr(task, "answer") or task.is_value
        if by_value:
            entry = {"value": plain(answer)}
        else:
            code = recipe(name, shell.user_ns["In"], shell.user_ns)
            entry = {"code": code, "stamp": stamp(code)}
        path = file_of(notebook)
        path.parent.mkdir(exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps({**kept(notebook), name: entry}, indent=1), encoding="utf-8")
        unfinished.replace(path)


def stamp(code):
    """Return what stands beside an answer's code that was kept by this account, and what no other could write."""
    if not SECRET.exists():
        number, unfinished = tempfile.mkstemp(dir=SECRET.parent)  # nobody else may read it
        with open(number, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex())
        os.replace(unfinished, SECRET)
    return hmac.new(SECRET.read_bytes(), code.encode(), "sha256").hexdigest()


def is_own(entry):
    """Was this code kept by this account? COURSE_OWN_ANSWERS says so of a folder that moves with the learner."""
    if os.environ.get("COURSE_OWN_ANSWERS", "").lower() == "yes":
        return True
    with suppress(OSError, AttributeError):  # a home that can't be written; code that is no text
        return entry.get("stamp") == stamp(entry["code"])
    return False


def place_of(task):
    """Return ("nb01", "clip"): in which notebook's module an exercise or question stands, and under what name."""
    for module, content in list(sys.modules.items()):
        if re.fullmatch(r"helpers\.exercises\.nb\d\d", module):
            for name, other in list(vars(content).items()):
                if other is task:
                    return module.rpartition(".")[2], name
    return None


def check_again(notebook, tasks):
    """Check the kept answers of a notebook to those of its tasks {name: task} that are not ticked yet."""
    others = []
    for name, entry in kept(notebook).items():
        task = tasks.get(name)
        if task is None or task.state == "correct":
            continue
        if "code" in entry and not is_own(entry):
            others.append(name)
            continue
        before, answer, error = task.state, entry.get("value"), None
        if "code" in entry:
            answer, error, _ = run_limited(lambda code=entry["code"]: made_by(code), SECONDS)
        if error or task.check(answer).state != "correct":
            task.state = before  # what was right once and isn't today is as if it were not there
    if others:
        print(
            f"Not counted: {', '.join(others)}. {file_of(notebook)} holds code for them that another computer or "
            "account kept, and it is not run here. Run their cells again; or, if you kept all that is in that folder, "
            "set COURSE_OWN_ANSWERS=yes and start again."
        )


def made_by(code):
    """Run the code of a kept answer and return the answer."""
    names = {"__name__": "__main__"}
    exec(compile(code, "<a kept answer>", "exec"), names)
    return names["answer"]


# --------------------------------------------------------------------------------- an answer without its notebook


def recipe(name, cells, names):
    """Return code after which `answer` is what the last cell handed to `ex.NAME.check`.

    cells    the sources of all cells that have run
    names    {name: value} in the notebook
    """
    tree = ast.parse(cells[-1])
    (check,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and checks(node.func, name)]
    body = [part for part in tree.body if not isinstance(part, ast.Expr) and check not in ast.walk(part)]
    body += ast.parse(f"answer = {ast.unparse(check.args[0])}").body
    done = bound(body)
    needed = [line for statement in body for line in definitions(statement, cells[:-1], names, done)]
    return "\n".join([*needed, *map(ast.unparse, body)])


def checks(function, name):
    return re.fullmatch(rf"(.*\.)?{name}\.check", ast.unparse(function))


def definitions(statement, cells, names, done):
    """Yield the lines that define what a statement uses of the rest of the notebook."""
    for name in sorted({node.id for node in ast.walk(statement) if isinstance(node, ast.Name)} & names.keys() - done):
        done.add(name)
        value = names[name]
        module = getattr(value, "__module__", None)
        if isinstance(value, type(sys)):
            yield f"import {value.__name__} as {name}"
        elif module == "__main__":  # made in a cell: the last one that did
            made = [part for cell in cells for part in statements(cell) if name in bound([part])]
            for part in made[-1:]:
                yield from definitions(part, cells, names, done)
                yield ast.unparse(part)
        elif isinstance(module, str) and vars(sys.modules[module]).get(getattr(value, "__name__", None)) is value:
            yield f"from {module} import {value.__name__} as {name}"
        else:
            with suppress(ValueError, SyntaxError):  # an array, a data set: an answer that needs it is not kept
                text = repr(value)
                if len(text) < LONGEST and ast.literal_eval(text) == value:
                    yield f"{name} = {text}"


def statements(cell):
    """The statements of a cell; none where it holds something else than Python."""
    with suppress(SyntaxError):
        return ast.parse(cell).body
    return []


def bound(body):
    """The names that statements bind: those of functions, classes, imports and assignments at their top."""
    found = set()
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            found.add(statement.name)
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
        else:
            found |= {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return found
