"""A queue, two workers, and jobs in their three forms: a method's name, a method, a plain function."""

import math

import honeydew_ray as honeydew


class Counter:
    """Counts the words of a text. Any class will do: it needs no base class and no decorator."""

    def words(self, text: str) -> int:
        return len(text.split())


def main() -> None:
    queue = honeydew.start_queue("texts")
    queue.start_workers(Counter, num=2)

    by_name = queue.submit("words", "Honey, do the dishes")
    by_method = queue.submit(Counter.words, "Honey, do the dishes and the laundry")
    by_function = queue.submit(math.factorial, 20)
    print("by name:", by_name.result())
    print("by method:", by_method.result())
    print("by function:", by_function.result())

    texts = ["one", "one two", "one two three"] * 4
    print("in order:", list(queue.map("words", texts)))

    queue.stop()


if __name__ == "__main__":
    main()
