"""List the jobs that match, and cancel them before they start."""

import honeydew_ray as honeydew


class Mailer:
    def send(self, address: str) -> str:
        return f"sent to {address}"


def main() -> None:
    queue = honeydew.start_queue("letters", suspended=True)  # takes jobs and starts none, until it is resumed
    queue.start_workers(Mailer, num=1)

    names = ["ann", "bob", "cho", "dee", "eve", "fay"]
    hosts = ["example.org", "example.net"]
    jobs = [queue.submit("send", f"{name}@{hosts[n % 2]}") for n, name in enumerate(names)]
    print("waiting:", queue.status().pending)

    unwanted = queue.filter(lambda job: job.args[0].endswith("@example.net"))
    for job in unwanted:
        print(f"cancel {job.args[0]}: {job.cancel()}")
    print("cancel one again:", unwanted[0].cancel())
    print("waiting:", len(queue.filter(method="send", state="pending")))

    queue.resume()
    for name, job in zip(names, jobs, strict=True):
        try:
            print(f"{name}: {job.result()}")
        except honeydew.JobCancelled:
            print(f"{name}: cancelled")

    queue.stop()


if __name__ == "__main__":
    main()
