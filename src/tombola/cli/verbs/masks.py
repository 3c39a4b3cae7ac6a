"""The verbs `overlap`, `distance` and `connectivity`, which compare masks and weights."""

from argparse import Namespace
from pathlib import Path

from tombola.base.errors import SpecError
from tombola.base.keys import exact_fraction
from tombola.cli.arguments import (
    command,
    data_flag,
    json_flag,
    plan_flags,
    plan_in_store,
    store_flag,
    store_of,
    write_json,
)
from tombola.cli.parser import Parser, Verb

__all__ = ["VERBS"]


def overlap_flags(parser: Parser) -> None:
    """Add the flags of `tombola overlap`."""
    parser.add_argument(
        "masks", metavar="TICKET", nargs="+", help="Two or more ticket folders, or one plan"
    )
    data_flag(parser)
    store_flag(parser)
    parser.add_argument(
        "--sparsity", metavar="X", help="Sparsity of a plan's masks (default: the highest)"
    )
    parser.add_argument(
        "--heads", metavar="N", type=int, help="Attention heads in a block (default: the network's)"
    )
    json_flag(parser)


def overlap(options: Namespace) -> None:
    """Show how much masks overlap, compared with chance, and what each prunes entirely."""
    if len(options.masks) == 1 and Path(options.masks[0]).is_dir():
        raise SpecError(
            "an overlap takes two or more tickets, or a plan, got one folder. Pass another ticket."
        )
    from tombola.cli.show.masks import show_overlap
    from tombola.cli.show.screen import screen
    from tombola.models.attention_heads import attention_heads
    from tombola.study.masks.overlap_report import (
        compare_masks,
        masks_of_plan,
        masks_of_tickets,
        refuse_too_few,
    )

    if len(options.masks) == 1:
        options.plan = options.masks[0]
        plan, store = plan_in_store(options)
        sparsity = exact_fraction(options.sparsity) if options.sparsity else None
        members, model = masks_of_plan(plan, store, sparsity), plan.jobs[0].subject.model
        refuse_too_few(members, plan, sparsity)
    else:
        members = masks_of_tickets(options.masks)
        if len(members) < 2:
            raise SpecError(f"expected different tickets, got {options.masks[0]!r} twice.")
        model = members[0].about["model"]
    found = compare_masks(members, options.heads or attention_heads(model))
    if not write_json(options.json, found):
        show_overlap(found, screen())


def distance_flags(parser: Parser) -> None:
    """Add the flags of `tombola distance`."""
    parser.add_argument(
        "trained", metavar="TRAINED", help="A model folder, or the first digits of a training's key"
    )
    parser.add_argument(
        "pretrained",
        metavar="PRETRAINED",
        nargs="?",
        help="The network it was trained from (default: mini)",
    )
    parser.add_argument(
        "--ticket", metavar="DIR", help="Count only the weights that this ticket keeps"
    )
    store_flag(parser)
    json_flag(parser)


def distance(options: Namespace) -> None:
    """Show how far training moved the weights of each matrix."""
    from tombola.base.specs import FindSpec
    from tombola.cli.show.masks import show_distances
    from tombola.cli.show.screen import screen
    from tombola.study.masks.weight_distance import checkpoint_distances, stored_distances
    from tombola.ticket.ticket import Ticket

    pretrained = options.pretrained or FindSpec.model
    if Path(options.trained).is_dir():
        ticket = Ticket.load(options.ticket) if options.ticket else None
        mask, scope = (ticket.mask, ticket.scope) if ticket else (None, FindSpec.scope)
        label = options.trained
        found = checkpoint_distances(options.trained, pretrained, mask, scope)
    else:
        label, found = stored_distances(store_of(options), options.trained, pretrained)
    result = {"trained": label, "pretrained": pretrained, "distances": found}
    if not write_json(options.json, result):
        show_distances(label, pretrained, found, screen())


def connectivity_flags(parser: Parser) -> None:
    """Add the flags of `tombola connectivity`."""
    plan_flags(parser)
    store_flag(parser)
    parser.add_argument(
        "--output", metavar="DIR", help="Folder for connectivity.svg and connectivity.png"
    )
    json_flag(parser)


def connectivity(options: Namespace) -> None:
    """Show, and draw, the barriers between runs of one network with different data orders."""
    from tombola.base.folders import check_folder
    from tombola.cli.show.masks import show_lines
    from tombola.cli.show.screen import screen
    from tombola.lab.progress.screen import say
    from tombola.study.masks.barriers import connectivity_lines

    if options.output:
        check_folder(options.output)
    plan, store = plan_in_store(options)
    found = [line.to_json() for line in connectivity_lines(plan, store)]
    if not found:
        raise SpecError(
            f"expected a plan with connectivity arms, got none in {options.plan!r}. "
            "The built-in plan `connectivity` has some."
        )
    if not write_json(options.json, found):
        show_lines(found, screen(), command=command("run", options))
    if options.output:
        from tombola.report.figures.connectivity import save

        for path in save(found, Path(options.output)):
            say(screen(options.json), str(path))


VERBS = {
    "overlap": Verb(overlap_flags, overlap),
    "distance": Verb(distance_flags, distance),
    "connectivity": Verb(connectivity_flags, connectivity),
}
