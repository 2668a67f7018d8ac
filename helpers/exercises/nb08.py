"""Exercises of notebook 08, more than one machine."""

from helpers.exercises import Quiz, exercise, nb01, nb02, progress_of

# Exercise 1: my share of the batch


@exercise(
    title="Take a process's share of a batch",
    minutes=4,
    cases={
        "8 reviews, process 0 of 2": (list(range(8)), 0, 2),
        "8 reviews, process 1 of 2": (list(range(8)), 1, 2),
        "7 reviews, process 2 of 3": (list(range(10, 17)), 2, 3),
        "2 reviews, process 3 of 4 (none is left for it)": ([5, 6], 3, 4),
    },
    hints=[
        "Process 1 of 3 gets the places 1, 4, 7 and so on: begin at the rank, and go on in steps of `processes`.",
        "A slice can have a step: `letters[start::step]`.",
    ],
    praise="Whoever adds up all the shares has every review once.",
)
def my_share(places, rank, processes):
    return places[rank::processes]


@my_share.mistake
def cuts_into_blocks(places, rank, processes):
    """You cut the batch into blocks, and what is left over at its end belongs to nobody. Deal the reviews out one by
    one: `places[rank::processes]`.
    """
    size = len(places) // processes
    return places[rank * size : (rank + 1) * size]


@my_share.mistake(replace={"rank::processes": "rank + 1 :: processes"})
def counts_from_one():
    """You begin one place too late: ranks are counted from 0, so nobody gets the first review."""


@my_share.mistake(replace={"rank::processes": "processes::rank + 1"})
def swaps_start_and_step():
    """Start and step have changed places: begin at `rank`, and go on in steps of `processes`."""


@my_share.mistake(replace={"[rank::processes]": ""})
def takes_everything():
    """Each process takes the whole batch, so every review counts as often as there are processes, and nothing is
    faster.
    """


# Exercise 2: the gradient of them all


@exercise(
    title="Put the processes' gradients together",
    cases={
        "four and four reviews": ([[1.0, 2.0], [3.0, 0.0]], [4, 4]),
        "five and three reviews": ([[1.0, 2.0], [3.0, 0.0]], [5, 3]),
        "a process without reviews": ([[1.0, -2.0], [0.0, 0.0], [4.0, 1.0]], [2, 0, 6]),
    },
    hints=[
        "The mean over all reviews is a weighted mean of the processes' means: how much does each process weigh?",
        "A process with 5 of 8 reviews weighs 5/8: `count / sum(counts)`, for each `count` of `counts`.",
    ],
    praise="It is what `train` does before it adds the gradients up: each process multiplies its own by its weight.",
)
def gradient_of_all(gradients, counts):
    weights = [count / sum(counts) for count in counts]
    mean = []
    for numbers in zip(*gradients, strict=True):  # each process's number, for one parameter
        pairs = zip(weights, numbers, strict=False)
        mean.append(sum(weight * number for weight, number in pairs))
    return mean


@gradient_of_all.mistake(replace={"count / sum(counts)": "1 / len(counts)"})
def weighs_all_alike():
    """You take the plain mean, in which a process with one review counts as much as one with a hundred. Weigh each by
    its share of all reviews.
    """


@gradient_of_all.mistake(replace={"count / sum(counts)": "1"})
def adds_without_weights():
    """You add the gradients up as they are, so the step grows with the number of processes. Each is a mean already:
    weigh it by its share of all reviews.
    """


@gradient_of_all.mistake(replace={"count / sum(counts)": "count"})
def forgets_to_divide():
    """Your weights are the numbers of reviews themselves. Divide them by the number of all reviews, so that they add
    up to 1.
    """


@gradient_of_all.mistake(replace={"sum(counts)": "len(counts)"})
def divides_by_processes():
    """You divide by the number of processes, not by the number of all reviews: the weights must add up to 1."""


# Exercise 3: how long is a step?


@exercise(
    title="How long is a step on several machines?",
    cases={
        "one machine": (2.0, 1_000_000, 1, 1e8),
        "two machines": (2.0, 1_000_000, 2, 1e8),
        "eight machines, a slow wire": (2.0, 25_000_000, 8, 1e7),
        "eight machines, a fast wire": (2.0, 25_000_000, 8, 1e11),
    },
    hints=[
        "Computing: each machine does its share. Sending: bytes divided by bytes per second.",
        "Section 4 has the bytes that each machine sends: 2 · (n − 1) / n · 4 · parameters.",
    ],
    praise="With one machine nothing is sent, and with a slow wire eight machines can be slower than one.",
)
def seconds_of_a_step(compute, parameters, processes, bytes_per_second):
    computing = compute / processes
    sending = 2 * (processes - 1) / processes * 4 * parameters / bytes_per_second
    return computing + sending


@seconds_of_a_step.mistake(replace={"compute / processes": "compute"})
def computes_everything_everywhere():
    """The computing isn't divided: each machine computes for its own share of the batch alone."""


@seconds_of_a_step.mistake(replace={"* 4 * parameters": "* parameters"})
def sends_a_byte_each():
    """A gradient of 32 bits is 4 bytes, not one."""


@seconds_of_a_step.mistake(replace={"2 * (processes - 1) / processes * ": ""})
def sends_one_row():
    """You send one row with any number of machines. By the ring it is 2 · (n − 1) / n rows, for one machine none."""


@seconds_of_a_step.mistake(replace={"2 * (processes - 1) / processes": "2 * (processes - 1)"})
def sends_all_to_all():
    """You send the whole row to every other machine. In the ring each sends a part to its neighbour only:
    2 · (n − 1) / *n* rows.
    """


quiz_1 = Quiz(
    """
    Four processes share a global batch of 32 reviews. What must be the same in all four before the first step?
    a) The weights
       ✓ Right. From equal weights and equal steps follow equal weights, for the whole training.
    b) The reviews of the batch
       ✗ Each has eight other reviews. The same ones would do the same work four times.
    c) The number of threads
       ✗ Threads decide how fast a process is, not what it computes.
    """
)

quiz_2 = Quiz(
    """
    You double the machines and keep the global batch. What happens to the megabytes that each sends in a step?
    a) They double, as the machines do
       ✗ In the ring each process talks to its neighbour alone, whatever the number of the others.
    b) They halve
       ✗ The share of the reviews halves, but gradients have one number for each parameter, not for each review.
    c) They hardly change
       ✓ Right: nearly two rows of gradients, from many processes. So sending soon takes longer than computing.
    """
)

quiz_3 = Quiz(
    """
    From notebook 03: one batch of 32 doesn't fit into the GPU's memory, and goes through in two parts of 16 whose
    gradients are added up. What has this in common with two machines?
    a) Nothing: there it is one machine
       ✗ The arithmetic doesn't ask where the parts were computed.
    b) Both get the gradient of the whole batch from its parts
       ✓ Right. One does the parts one after the other and saves memory, the other at the same time and saves
       time.
    c) Both are twice as fast
       ✗ One machine that takes two parts in turn is no faster.
    """
)

quiz_4 = Quiz(
    """
    From notebook 05: trained on eight machines, a model has 86.0% on 1,000 test reviews; on one it had 85.1%. The
    colleague writes: more machines make better models. What do you say?
    a) 0.9 points on 1,000 reviews are within the uncertainty, and the seed differs too
       ✓ Right. The 95% interval of one such score is about ±2 points, and a second seed moves it as well.
    b) It is true if the global batch was kept
       ✗ With the same global batch the model is the same, up to rounding. So the difference has other causes.
    c) It is true: 86.0 is more than 85.1, and both were measured on the same 1,000 reviews
       ✗ So is the result of two throws of dice. How large is the interval, and was it compared in pairs?
    """
)

again_1 = nb01.quiz_1.again()
again_2 = nb02.quiz_4.again()

progress = progress_of(__name__)
