"""Exercises of notebook 06, your own texts."""

from helpers.exercises import Quiz, exercise, nb02, nb05, progress_of

# Exercise 1: macro-F1


@exercise(
    title="Macro-F1 from labels and answers",
    minutes=8,
    cases={
        "two classes, one rare": ([0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 0], 2),
        "three classes": ([0, 0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 2, 1, 0, 2, 2, 0], 3),
        "always the frequent class": ([0, 0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 0, 0], 3),
        "a class that nobody has and nobody says": ([0, 1, 1], [0, 1, 0], 3),
    },
    hints=[
        "For one class: count the texts that have it and are called it (`right`), those that are called it, and those "
        "that have it. F1 is 2 · right / (called + have).",
        "Take the plain mean over all classes, `for c in range(classes)`. A share of nothing is 0.",
        "`called = sum(answer == c for answer in answers)`, and the other two counts in the same way.",
    ],
    praise="Mind the third case: five of seven texts are right, an accuracy of 0.71, and macro-F1 is 0.28.",
)
def macro_f1(labels, answers, classes):
    total = 0
    for c in range(classes):
        right = sum(label == c and answer == c for label, answer in zip(labels, answers, strict=True))
        called = sum(answer == c for answer in answers)
        have = sum(label == c for label in labels)
        total += 2 * right / (called + have) if called + have > 0 else 0
    return total / classes


@macro_f1.mistake
def counts_every_text_alike(labels, answers, classes):
    """This is the accuracy: every text counts alike, so a rare class hardly matters. Compute an F1 for each class, and
    then their mean."""
    return sum(label == answer for label, answer in zip(labels, answers, strict=True)) / len(labels)


@macro_f1.mistake
def weighs_by_size(labels, answers, classes):
    """You weigh each class by its size, so the frequent ones decide again. In a macro mean each class counts the same:
    divide the sum by the number of classes."""
    total = 0
    for c in range(classes):
        right = sum(label == c and answer == c for label, answer in zip(labels, answers, strict=True))
        called, have = sum(answer == c for answer in answers), sum(label == c for label in labels)
        total += have * (2 * right / (called + have) if called + have > 0 else 0)
    return total / len(labels)


@macro_f1.mistake
def takes_the_recall(labels, answers, classes):
    """This is the mean recall. Texts that are wrongly *called* a class must cost it something too: divide by those
    that are called it and those that have it together."""
    total = 0
    for c in range(classes):
        right = sum(label == c and answer == c for label, answer in zip(labels, answers, strict=True))
        have = sum(label == c for label in labels)
        total += right / have if have > 0 else 0
    return total / classes


@macro_f1.mistake(replace={"if called + have > 0 else 0": ""})
def divides_by_nothing():
    """The formula is right, but one class may stand neither among the labels nor among the answers. A share of nothing
    is 0 by convention: check before you divide."""


@macro_f1.mistake(replace={"2 * right": "right"})
def forgets_the_two():
    """Each F1 is half of what it should be: it is 2 · right / (called + have), so that a perfect class has 1."""


# Exercise 2: weights for unequal classes


@exercise(
    title="A weight for each class",
    cases={
        "two classes, nine to one": ([0] * 9 + [1], 2),
        "three classes": ([0, 0, 0, 0, 0, 0, 1, 1, 1, 2], 3),
        "equal classes": ([0, 1, 2, 3], 4),
    },
    hints=[
        "A class that is half as frequent gets twice the weight: it is something divided by the class's count.",
        "The something is what makes all equal classes weigh 1: the number of labels divided by the number of classes.",
    ],
    praise="Multiply each weight by its class's count: every class now counts the same, and the sum is as before.",
)
def class_weights(labels, classes):
    counts = [sum(label == c for label in labels) for c in range(classes)]
    return [len(labels) / (classes * count) for count in counts]


@class_weights.mistake(replace={"len(labels) / (classes * count)": "classes * count / len(labels)"})
def favours_the_frequent():
    """Your weights are the wrong way round: the frequent class gets the large one. Divide by the count."""


@class_weights.mistake(replace={"(classes * count)": "count"})
def forgets_the_classes():
    """Their proportions are right, but all are too large: with equal classes each should weigh 1. Otherwise the loss,
    and with it every step, grows with the number of classes."""


@class_weights.mistake(replace={"len(labels) / (classes * count)": "1 / count"})
def divides_one():
    """Their proportions are right, but with many texts they are tiny, and so is the loss. With equal classes each
    should weigh 1."""


@class_weights.mistake(replace={"len(labels) / (classes * count)": "1 - count / len(labels)"})
def takes_the_rest():
    """One less the share favours rare classes, but far too little: a class of 1% gets 0.99, one of 10% gets 0.90, and
    yet it has ten times as many texts. Divide by the count."""


# Exercise 3: confident learning


@exercise(
    title="Which labels are doubtful?",
    minutes=10,
    cases={
        "two classes": ([0, 0, 0, 1, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.7, 0.3]]),
        "a model that is never sure of class 1": (
            [0, 0, 0, 1, 1, 1],
            [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.6, 0.4], [0.85, 0.15]],
        ),
        "three classes": (
            [0, 0, 1, 1, 2, 2, 1, 2],
            [
                [0.8, 0.1, 0.1],
                [0.1, 0.75, 0.15],
                [0.1, 0.6, 0.3],
                [0.1, 0.8, 0.1],
                [0.05, 0.05, 0.9],
                [0.48, 0.12, 0.4],
                [0.3, 0.15, 0.55],
                [0.2, 0.2, 0.6],
            ],
        ),
    },
    hints=[
        "First, for each class: the mean of its own probability over the texts that bear its label. That is its "
        "threshold.",
        "Then, for each text: among the classes whose threshold its probability reaches, take the likeliest.",
        "If there is such a class, and it is not the label, the text is doubtful.",
    ],
    praise="In the second case class 1 is reached at 0.28: a fixed threshold of 0.5 would have doubted all its labels.",
)
def doubtful(labels, probabilities):
    classes = range(len(probabilities[0]))
    threshold = []
    for c in classes:
        own = [row[c] for row, label in zip(probabilities, labels, strict=True) if label == c]
        threshold.append(sum(own) / len(own))
    found = []
    for place, (row, label) in enumerate(zip(probabilities, labels, strict=True)):
        reached = [c for c in classes if row[c] >= threshold[c]]
        if reached and max(reached, key=row.__getitem__) != label:
            found.append(place)
    return found


@doubtful.mistake
def doubts_every_error(labels, probabilities):
    """You list every text whose likeliest class is not its label. Then a class of which the model is never sure is
    doubted as a whole: ask for each class's own threshold first."""
    return [i for i, row in enumerate(probabilities) if row.index(max(row)) != labels[i]]


@doubtful.mistake(replace={"threshold.append(sum(own) / len(own))": "threshold.append(0.5)"})
def fixed_at_one_half():
    """You ask every class for 0.5. Each class has a threshold of its own: how sure the model is, on average, of the
    texts that bear its label."""


@doubtful.mistake(replace={" if label == c]": "]"})
def averages_over_all_texts():
    """Your threshold is the mean over *all* texts. Take the mean over those alone that bear the class's label."""


@doubtful.mistake(replace={"if reached and max(reached, key=row.__getitem__) != label": "if label not in reached"})
def doubts_the_unsure():
    """You list the texts of whose own label the model is unsure. That is not enough: another class must have reached
    its threshold."""


quiz_1 = Quiz(
    """
    95% of the letters are "other", and five small classes share the rest. A model has an accuracy of 95%. What do you
    know?
    a) It is right where it matters most, on 95 of every 100 letters
       ✗ It may never say anything but "other". The accuracy can't tell.
    b) Next to nothing: look at each class, or at macro-F1
       ✓ Right. Always saying "other" has 95% too, and a macro-F1 of about 0.16.
    c) The small classes need weights
       ✗ Perhaps, but this figure doesn't say how they fare.
    """
)

quiz_2 = Quiz(
    """
    With class weights, macro-F1 rises from 0.81 to 0.84 after 3 epochs. What do you report?
    a) The interval of the difference, and what it is after a longer training
       ✓ Right. Weights speed up what rare classes would learn anyway, so the gain may be gone later on.
    b) Class weights help by 3 points
       ✗ With a few texts in each rare class, 3 points can be chance, and they were seen at one length only.
    c) Nothing: weights only help with word counts
       ✗ Any loss can be weighted. The question is whether it pays here.
    """
)

quiz_3 = Quiz(
    """
    Confident learning lists 80 of your 2,000 rows. What do you do with them?
    a) Delete them, and train again
       ✗ Many are right and merely hard. Without them the model never learns the hard cases.
    b) Give each the label that the method suggests
       ✗ Then the model decides what it is trained on and measured by.
    c) Read them, and mend those that are wrong
       ✓ Right. The list shows where a reader's time is spent best; it doesn't take the reader's place.
    """
)

quiz_4 = Quiz(
    """
    The int8 model has the same accuracy as the model that it was made from, to the third decimal. May it take its
    place?
    a) Yes, equal accuracy means equal answers
       ✗ It may be wrong on other texts than before, as often as it is right on others.
    b) No, int8 always loses accuracy
       ✗ It often loses none that can be measured. So measure.
    c) Ask also how many answers changed, and how wide the interval of the paired difference is
       ✓ Right. If many answers changed, equal scores are a coincidence of these test texts.
    """
)

again_1 = nb02.quiz_4.again()
again_2 = nb05.quiz_2.again()

progress = progress_of(__name__)
