"""A progress bar that is plain text everywhere, so that no notebook needs ipywidgets."""

from tqdm import tqdm


class _NotebookLine:
    """Where tqdm writes in a notebook: one line of text that is replaced again and again."""

    def __init__(self):
        from IPython.display import display

        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def write(self, text):
        text = text.strip("\r\n ")
        if text:
            self.handle.update({"text/plain": text}, raw=True)

    def flush(self):
        pass


def progress_bar(iterable=None, **settings):
    """Return a tqdm bar that is plain text everywhere, in notebooks too. Takes tqdm's own arguments."""
    try:
        in_notebook = get_ipython().__class__.__name__ != "TerminalInteractiveShell"
    except NameError:  # plain Python
        in_notebook = False
    if in_notebook and not settings.get("disable"):
        settings.update(file=_NotebookLine(), ncols=100, ascii=False)
    return tqdm(iterable, mininterval=0.5, **settings)
