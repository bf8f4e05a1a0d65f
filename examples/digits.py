"""Workers that hold a trained model and classify real images of handwritten digits, arrays in and arrays out."""

import numpy as np
from sklearn.datasets import load_digits

import honeydew_ray as honeydew

Array = np.ndarray


class DigitReader:
    """Softmax regression on 8 x 8 grey images. Trained once, when the worker starts: the weights are its state."""

    def __init__(self, images: Array, labels: Array, steps: int = 300, rate: float = 0.5) -> None:
        pixels = self.pixels(images)
        wanted = np.eye(10)[labels]
        self.weights = np.zeros((pixels.shape[1], 10))
        for _ in range(steps):
            self.weights -= rate * pixels.T @ (self.probabilities(pixels) - wanted) / len(images)

    def classify(self, images: Array) -> Array:
        return self.probabilities(self.pixels(images)).argmax(axis=1)

    def pixels(self, images: Array) -> Array:
        flat = images.reshape(len(images), -1) / 16
        return np.hstack([flat, np.ones((len(images), 1))])  # the last column carries the bias

    def probabilities(self, pixels: Array) -> Array:
        scores = pixels @ self.weights
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def main() -> None:
    digits = load_digits()
    order = np.random.default_rng(seed=0).permutation(len(digits.images))
    images, labels = digits.images[order], digits.target[order]
    held_out = images[1000:]

    queue = honeydew.start_queue("digits")
    queue.start_workers(DigitReader, images[:1000], labels[:1000], num=2)
    batches = np.array_split(held_out, 16)
    answers = np.concatenate(list(queue.map("classify", batches)))
    accuracy = (answers == labels[1000:]).mean()
    print(f"{len(batches)} jobs classified {len(answers)} images, {accuracy:.1%} of them right")
    queue.stop()


if __name__ == "__main__":
    main()
