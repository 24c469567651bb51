"""What each of two processes runs in `test_many_processes`: the tasks of a file, in the order they stand there.

    python process.py TASKS FOLDER

A training in the folder 'stopped' has process 1 terminated within its second epoch, one in 'killed' has it
killed there; each once.
"""

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import torch

from resnetlab.errors import StoppedError
from resnetlab.system import interruption, ranks
from resnetlab.training.checkpoint_manager import CheckpointManager
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.initial import network_with
from resnetlab.training.loop import fit
from resnetlab.training.predict import predict

ENDS = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}
LAST_STEP = 6  # of four an epoch


def end_in_time(folder: Path) -> None:
    """Let process 1 get a signal after a step of the trainings that are to end."""
    steps = dict.fromkeys(ENDS, 0)
    original = CheckpointManager.after_step

    def after_step(self, step, sums):
        name = self.checkpoints.parent.name
        if name not in steps or (folder / f"{name}.cut").exists():
            interruption.reset()  # the signal was for one before
        else:
            steps[name] += 1
            if steps[name] == LAST_STEP and not ranks.is_main():
                (folder / f"{name}.cut").touch()
                os.kill(os.getpid(), ENDS[name])
        original(self, step, sums)

    CheckpointManager.after_step = after_step


class GivenUpError(Exception):
    """The training is hopeless, as a search may find."""


def give_up(history, line):
    raise GivenUpError


def log_nothing(history, line):
    """Leave the terminal alone."""


def do(task, folder: Path):
    """Return history and weights of a training, or the logits of a prediction.

    Of a training that was cut: its exit code, its words, and the seconds until it ended.
    """
    network = network_with(task["recipe"], 3, task["state"])
    classes = ("high", "middle", "low")
    if task["kind"] == "predict":
        return predict(network, task["train"], task["view"], classes, 0, 0).logits
    try:
        history = fit(
            make_fabric("cpu", "fp32", 1),
            network,
            task["train"],
            task["val"],
            classes,
            task["recipe"],
            folder / task["name"],
            give_up if task["name"] == "given up" else log_nothing,
        )
    except GivenUpError:
        return "given up"
    except StoppedError as stop:
        cut = folder / f"{task['name']}.cut"
        return stop.exit_code, str(stop), time.time() - cut.stat().st_mtime
    return history, network.state_dict()


def main(tasks_file: str, folder: str) -> None:
    torch.set_num_threads(1)
    end_in_time(Path(folder))
    with interruption.handle_signals():
        ranks.connect()
        if not ranks.is_main():
            sys.exit(ranks.follow())
        for number, task in enumerate(pickle.loads(Path(tasks_file).read_bytes())):
            found = do(task, Path(folder))
            interruption.reset()
            (Path(folder) / f"{tasks_file}-{number}.found").write_bytes(pickle.dumps(found))
        ranks.dismiss(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
