"""Exercises of notebook 07, beyond BERT."""

from helpers.exercises import Quiz, exercise, nb04, nb05, progress_of

# Exercise 1: a layer with LoRA


@exercise(
    title="What a layer with LoRA gives",
    minutes=8,
    cases={
        "two numbers in, two out, rank 1": ([1.0, 2.0], [[1.0, 0.0], [0.0, 1.0]], [[1.0, -1.0]], [[2.0], [3.0]], 2),
        "three in, two out, rank 2": (
            [1.0, 0.0, -1.0],
            [[0.5, 1.0, 2.0], [1.0, 0.0, 1.0]],
            [[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]],
            [[1.0, 0.0], [0.5, -1.0]],
            16,
        ),
        "before the first step": ([3.0, 4.0], [[1.0, 2.0], [0.0, 1.0]], [[0.7, 0.2]], [[0.0], [0.0]], 16),
    },
    hints=[
        "The sum of products of a matrix's rows with a list of numbers is needed three times: write a small function "
        "`times(matrix, numbers)` first.",
        "The frozen layer gives `times(weight, numbers)`. Beside it `down` makes as many numbers as the rank, and `up` "
        "makes of these as many as the layer has outputs.",
        "The rank is `len(down)`, and what the adapter gives is multiplied by `alpha / rank` before it is added.",
    ],
    praise="Mind the last case: where `up` is zero the adapter adds nothing. Training starts from the model as it is.",
)
def lora(numbers, weight, down, up, alpha):
    def times(matrix, numbers):
        return [sum(w * x for w, x in zip(row, numbers, strict=True)) for row in matrix]

    scale = alpha / len(down)
    frozen, added = times(weight, numbers), times(up, times(down, numbers))
    return [f + scale * a for f, a in zip(frozen, added, strict=True)]


@lora.mistake(replace={"f + scale * a": "scale * a"})
def forgets_the_layer():
    """You return what the adapter gives, without the frozen layer. Before the first step that is nothing at all: the
    model would have forgotten everything. Add the two."""


@lora.mistake(replace={"alpha / len(down)": "1"})
def forgets_the_scale():
    """What the adapter gives must be multiplied by alpha / rank before it is added."""


@lora.mistake(replace={"alpha / len(down)": "alpha"})
def scales_by_alpha():
    """You multiply by alpha alone. Divide by the rank, so that another rank doesn't need another learning rate."""


@lora.mistake(replace={"alpha / len(down)": "alpha / len(up)"})
def takes_the_outputs_for_the_rank():
    """You divide alpha by the number of outputs. The rank is the thin side: the number of rows of `down`."""


# Exercise 2: the score of a prompt's answer


@exercise(
    title="The log-probability of each answer",
    cases={
        "a vocabulary of four": ([2.0, 1.0, 0.0, -1.0], [1, 2]),
        "answers that are both unlikely": ([10.0, 0.0, 1.0, 9.0, 3.0], [2, 1]),
        "large logits": ([1000.0, 998.0, 999.0], [0, 1]),
    },
    hints=[
        "Softmax runs over the whole vocabulary: the share of token t is exp(logits[t]) divided by the sum of "
        "exp(logit) over *all* tokens. You want its logarithm.",
        "The logarithm of that share is `logits[t] - math.log(sum(math.exp(logit) for logit in logits))`.",
        "exp(1000) is too large for Python. Take the largest logit away from all of them first: the shares stay as "
        "they are.",
    ],
    praise="For choosing between the answers the raw logits would do; to compare *prompts*, you need these.",
)
def log_probabilities(logits, answers):
    import math

    largest = max(logits)
    total = largest + math.log(sum(math.exp(logit - largest) for logit in logits))
    return [logits[answer] - total for answer in answers]


@log_probabilities.mistake
def returns_the_logits(logits, answers):
    """These are the raw logits. They choose the same answer, but their size means nothing: turn them into shares of
    the whole vocabulary (softmax), and take the logarithm."""
    return [logits[answer] for answer in answers]


@log_probabilities.mistake
def only_among_the_answers(logits, answers):
    """You share out among the answers alone. The decoder may say any word of its vocabulary: the sum runs over all
    logits."""
    import math

    largest = max(logits)
    total = largest + math.log(sum(math.exp(logits[answer] - largest) for answer in answers))
    return [logits[answer] - total for answer in answers]


@log_probabilities.mistake
def forgets_the_logarithm(logits, answers):
    """These are the probabilities. Take the logarithm: over several tokens log-probabilities are added, and none
    becomes too small to be kept."""
    import math

    largest = max(logits)
    total = sum(math.exp(logit - largest) for logit in logits)
    return [math.exp(logits[answer] - largest) / total for answer in answers]


@log_probabilities.mistake
def overflows(logits, answers):
    """The formula is right, but exp(1000) is too large for a number of 64 bits. Take the largest logit away from all
    of them first."""
    import math

    total = math.log(sum(math.exp(logit) for logit in logits))
    return [logits[answer] - total for answer in answers]


# Exercise 3: from how many texts on


@exercise(
    title="From how many texts on is a model of your own cheaper?",
    cases={
        "labels cost 300, answers next to nothing": (300, 1, 0.001, 0.0),
        "exactly level after a whole number of texts": (40, 10, 0.25, 0.0),
        "a model of one's own costs something a text, too": (120, 5, 0.004, 0.001),
        "the prompt is cheaper for each text": (100, 5, 0.001, 0.002),
        "both cost the same a text": (100, 5, 0.002, 0.002),
        "labels that are there already": (0, 0, 0.002, 0.001),
    },
    hints=[
        "Your own model costs something once (labels and training), and then something for each text. A prompt costs "
        "for each text alone.",
        "With n texts: labels + training + n · own is less than n · prompt. Solve for n.",
        "If a text costs you as much as it costs with a prompt, or more, the answer is None: it never pays. Otherwise "
        "take the first whole n that is *more* than the quotient: its whole part and one more, `int(…) + 1`.",
    ],
    praise="Mind the first case: what costs is the labels, not the training.",
)
def pays_from(labels, training, prompt, own):
    if own >= prompt:
        return None
    return int((labels + training) / (prompt - own)) + 1


@pays_from.mistake(replace={"labels + training": "training"})
def forgets_the_labels():
    """You forget what the labels cost. They are usually the largest part: somebody has to read the texts."""


@pays_from.mistake(replace={"prompt - own": "prompt"})
def own_answers_for_nothing():
    """You take your own model's answers for free. What a text saves is the price of the prompt less that of your own
    model."""


@pays_from.mistake
def never_says_never(labels, training, prompt, own):
    """If a text costs as much with your own model as with a prompt, or more, no number of texts brings the money back:
    return None."""
    import math

    if own == prompt:
        return math.inf
    return int((labels + training) / (prompt - own)) + 1


@pays_from.mistake(replace={"int((labels + training) / (prompt - own)) + 1": "(labels + training) / (prompt - own)"})
def where_they_are_level():
    """Here both cost the same, or it is a part of a text. Return the first whole number at which your own model is
    cheaper."""


# Exercise 4: a window slides over a picture


@exercise(
    title="What a convolution gives",
    minutes=8,
    cases={
        "one window of two by two": ([[1, 2, 3], [4, 5, 6], [7, 8, 9]], [[1, 0], [0, -1]]),
        "brighter on the right": ([[0, 0, 9, 9], [0, 0, 9, 9], [0, 0, 9, 9]], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
        "a picture that is wider than high": ([[1, 0, 2, 0, 3], [0, 1, 0, 2, 0]], [[1, 2]]),
    },
    hints=[
        "The result has a row for each place where the window fits from top to bottom: "
        "`len(picture) - len(window) + 1`; and as many columns as it fits from left to right.",
        "At the place (row, column) the weight `window[i][j]` lies on the number `picture[row + i][column + j]`.",
        "Multiply these pairs and add all products: one number of the result.",
    ],
    praise="A layer has many such windows; what they find are the channels that the next layer's windows see.",
)
def convolve(picture, window):
    high, wide = len(window), len(window[0])
    found = []
    for row in range(len(picture) - high + 1):
        line = []
        for column in range(len(picture[0]) - wide + 1):
            places = [(i, j) for i in range(high) for j in range(wide)]
            line.append(sum(window[i][j] * picture[row + i][column + j] for i, j in places))
        found.append(line)
    return found


@convolve.mistake(replace={"window[i][j] *": "window[-1 - i][-1 - j] *"})
def turns_the_window():
    """You turn the window upside down. Mathematicians do that in a convolution; the networks of torch don't."""


@convolve.mistake(replace={"line.append(sum(": "line.append(max("})
def takes_the_largest():
    """You take the largest product. A convolution adds all of them; the largest is what "max pooling" takes."""


@convolve.mistake(
    replace={"len(picture) - high + 1": "len(picture) - high", "len(picture[0]) - wide + 1": "len(picture[0]) - wide"}
)
def misses_the_last_place():
    """A row and a column are missing: a window of 2 fits into 3 points at two places, 3 - 2 + 1."""


@convolve.mistake(replace={"range(len(picture) - high + 1)": "range(0, len(picture) - high + 1, high)"})
def steps_by_the_window():
    """Your window moves on by its own height. It moves by one point at a time (a larger step is called stride)."""


quiz_1 = Quiz(
    """
    A decoder reads "The film is not good." Which words can change the vector of *film*?
    a) All of them
       ✗ That is BERT. A decoder learns to foretell the next word, so it must not see it.
    b) *The* and *film*
       ✓ Right. In a decoder a token looks at itself and to the left.
    c) *not*, because negation is marked
       ✗ *not* stands to the right of *film*. Nothing is marked: the mask hides what comes later.
    """
)

quiz_2 = Quiz(
    """
    A colleague's prompt gets 74% on 100 texts, yours 66%. What do you say?
    a) Mine is worse: I take the other one
       ✗ By a few texts of 100. And the best of several wordings is partly the luckiest.
    b) It needs a larger model
       ✗ Perhaps, but two figures from so few texts don't show that.
    c) Ask both on texts by which nobody chose, and look at the interval of the difference
       ✓ Right. A wording is a setting like any other: chosen on some texts, measured on others.
    """
)

quiz_3 = Quiz(
    """
    With LoRA 460,800 of the packaged decoder's 134,515,008 numbers learn. What gets smaller by that factor?
    a) What the optimizer keeps, and the file that is saved
       ✓ Right. All other weights are shared by every task.
    b) The seconds of a step
       ✗ The frozen layers still compute forward and backward; only the slopes of their own weights are spared.
    c) The memory that the model itself takes while it answers a text
       ✗ All frozen weights are still there, and are needed for each answer.
    """
)

quiz_4 = Quiz(
    """
    You have 20 letters of one kind a day to sort, no labels, and a large chat model at hand. What first?
    a) Fine-tune the chat model by its provider
       ✗ That wants labelled conversations as well, and you have none.
    b) Label 200 letters and fine-tune BERT on them, because a trained model beats any prompt
       ✗ It may come to that. At 20 letters a day it would take long until it pays.
    c) Write a prompt, label some letters to measure it, and keep the labels
       ✓ Right. You need labels to know how good the prompt is; if there are more letters some day, you have a start.
    """
)

again_1 = nb05.quiz_4.again()
again_2 = nb04.quiz_1.again()

progress = progress_of(__name__)
