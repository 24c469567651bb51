"""Hand a model over to the Hugging Face hub."""

from pathlib import Path

from resnetlab.runs.run import Run, bundle_of
from resnetlab.system.progress import log


def push(model: Path, repository: str, public: bool = False) -> str:
    """Upload a run's bundle, or a bundle, to user/name with its card and scores; return the address.

    A new repository is private unless it is to be `public`. Raises DataError where there is no bundle,
    RecipeError for a name that is none, MachineError where the hub refuses or can't be reached.
    """
    from resnetlab.deploy.bundle import FACTS, check_facts, read_facts
    from resnetlab.deploy.hub import hub_card, push_bundle, repository_of

    bundle = bundle_of(model)
    repository = repository_of(repository)
    check_facts(read_facts(bundle / FACTS)[0])
    metrics = Run(model).metrics if bundle != model else {}
    log(f"uploading {bundle} to {repository}")
    return push_bundle(bundle, repository, hub_card(bundle, metrics), not public)
