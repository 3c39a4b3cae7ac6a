"""Adapters on a ticket: merging keeps the mask and says what that costs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    get_peft_model,
)
from torch import nn

from small_network import BATCH, network, revived
from tombola.base.errors import TicketError
from tombola.ship.lora import merge_lora
from tombola.ticket.hold.places import masked_parameters
from tombola.ticket.ticket import Ticket

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about transformers


def trained(ticket: Ticket, **config: Any) -> Any:
    """A network with adapters on a frozen ticket, trained a little."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"target_modules": ["query", "value", "dense"], "r": 4}
    model = get_peft_model(ticket.apply(network()), LoraConfig(**settings | config))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    with ticket.hold(model):
        for _ in range(5):
            model(**BATCH).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    return model


def untrained(ticket: Ticket) -> Any:
    """A network with adapters that change what it says."""
    config = LoraConfig(target_modules=["query", "value"], r=2, init_lora_weights=False)
    return get_peft_model(ticket.apply(network()), config)


def minus_loss(model: nn.Module) -> float:
    with torch.no_grad():
        return -float(model(**BATCH).loss)


def test_the_plain_merge_revives_weights_and_ours_does_not(ticket: Ticket) -> None:
    assert revived(trained(ticket).merge_and_unload(), ticket) > 0
    merged = merge_lora(trained(ticket), ticket)
    assert revived(merged.model, ticket) == 0
    assert merged.score is merged.cost is None
    assert "to see what that costs" in str(merged)


def test_kept_weights_get_the_whole_update(ticket: Ticket) -> None:
    plain = masked_parameters(trained(ticket).merge_and_unload(), ticket.mask)
    ours = masked_parameters(merge_lora(trained(ticket), ticket).model, ticket.mask)
    for name, kept in ticket.mask.items():
        assert torch.equal(ours[name], torch.where(kept, plain[name], 0.0))


def test_it_says_what_merging_costs(ticket: Ticket) -> None:
    model = trained(ticket)
    before = minus_loss(model)
    merged = merge_lora(model, ticket, score=minus_loss)
    assert merged.unmerged_score == before
    assert merged.score == minus_loss(merged.model)
    assert merged.cost == before - minus_loss(merged.model) != 0
    assert 0 < merged.discarded < 1
    assert "merged." in str(merged)


def test_adapters_that_did_nothing_cost_nothing(ticket: Ticket) -> None:
    config = LoraConfig(target_modules=["query"], r=2)
    model: Any = get_peft_model(ticket.apply(network()), config)
    merged = merge_lora(model.eval(), ticket, score=minus_loss)
    assert merged.discarded == merged.cost == 0.0


def test_the_share_discarded_is_that_of_the_norm(ticket: Ticket) -> None:
    model = trained(ticket)
    update, pruned = [], []
    for name, layer in model.get_base_model().named_modules():
        if hasattr(layer, "get_delta_weight"):
            kept = ticket.mask.get(f"{name.removeprefix('bert.')}.weight")
            if kept is not None:
                delta = layer.get_delta_weight("default").detach()
                update.append(delta.flatten())
                pruned.append(delta[~kept])
    share = torch.cat(pruned).norm() / torch.cat(update).norm()
    assert merge_lora(model, ticket).discarded == pytest.approx(float(share), rel=1e-4)


def test_a_network_without_adapters_is_refused(ticket: Ticket) -> None:
    with pytest.raises(TicketError, match=r"expected a PeftModel .* got BertForSequence"):
        merge_lora(network(), ticket)


def test_adapters_that_are_merged_already_are_refused(ticket: Ticket) -> None:
    model = trained(ticket)
    model.merge_adapter()
    with pytest.raises(TicketError, match=r"not merged yet, .* unmerge_adapter\(\)"):
        merge_lora(model, ticket)
    model.unmerge_adapter()
    assert 0 < merge_lora(model, ticket).discarded < 1


def test_a_network_that_is_not_under_the_ticket_is_refused_and_left_alone(ticket: Ticket) -> None:
    model = get_peft_model(network(), LoraConfig(target_modules=["query"], r=2))
    with pytest.raises(TicketError, match="expected zeros where the ticket prunes encoder"):
        merge_lora(model, ticket)
    assert revived(model, ticket) > 0
    assert any("lora_A" in name for name, _ in model.named_modules())
    assert merge_lora(ticket.apply(model), ticket).discarded == 0


def test_adapters_of_transformers_own_are_refused_with_what_to_do(
    ticket: Ticket, tmp_path: Path
) -> None:
    model = ticket.apply(network())
    model.add_adapter(LoraConfig(target_modules=["query"], init_lora_weights=False))
    with pytest.raises(TicketError, match=r"those of add_adapter\(\)\. Save them"):
        merge_lora(model, ticket)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(ticket.apply(network()), str(tmp_path))
    assert minus_loss(loaded.eval()) == minus_loss(model.eval())
    assert merge_lora(loaded, ticket).discarded > 0


def test_adapters_that_are_not_finite_are_refused_and_the_model_is_left_alone(
    ticket: Ticket,
) -> None:
    model = untrained(ticket)
    name, adapter = next((n, p) for n, p in model.named_parameters() if "lora_B" in n)
    adapter.data[0, 0] = torch.nan
    with pytest.raises(TicketError, match=f"whose update is finite, got .* in {name}"):
        merge_lora(model, ticket)
    assert all(weight.isfinite().all() for weight in masked_parameters(model, ticket.mask).values())
    adapter.data[0, 0] = 0
    assert merge_lora(model, ticket).discarded > 0


def test_an_update_that_overflows_is_refused(ticket: Ticket) -> None:
    model = untrained(ticket)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.fill_(1e30)
    with pytest.raises(TicketError, match="whose update is finite"):
        merge_lora(model, ticket)


def test_adapters_that_are_not_active_are_refused_until_they_are_active_or_gone(
    ticket: Ticket,
) -> None:
    models = [untrained(ticket), untrained(ticket)]
    for model in models:
        config = LoraConfig(target_modules=["key"], r=2, init_lora_weights=False)
        model.add_adapter("other", config)
        with pytest.raises(TicketError, match=r"got 'other' not active\. .*\['default', 'other'\]"):
            merge_lora(model, ticket)
    models[0].base_model.set_adapter(["default", "other"])
    models[1].delete_adapter("other")
    key = "encoder.layer.0.attention.self.key.weight"
    moved = [
        not torch.equal(
            masked_parameters(merge_lora(model, ticket).model, ticket.mask)[key],
            masked_parameters(ticket.apply(network()), ticket.mask)[key],
        )
        for model in models
    ]
    assert moved == [True, False]


def test_a_model_inside_data_parallel_is_merged(ticket: Ticket) -> None:
    merged = merge_lora(nn.DataParallel(untrained(ticket)), ticket)
    assert type(merged.model) is type(network())
    assert merged.discarded > 0


def test_a_model_is_merged_once(ticket: Ticket) -> None:
    model = trained(ticket)
    merged = merge_lora(model, ticket)
    with pytest.raises(TicketError, match=r"not merged yet, got PeftModel with none left\. Use"):
        merge_lora(model, ticket)
    assert merged.discarded > 0
    with pytest.raises(TicketError, match="expected a PeftModel"):
        merge_lora(merged.model, ticket)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3), "PROMPT_TUNING"),
        (PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3), "PREFIX_TUNING"),
        (PromptEncoderConfig(task_type="SEQ_CLS", num_virtual_tokens=3), "P_TUNING"),
    ],
)
def test_prompts_have_no_weights_to_merge(ticket: Ticket, config: PeftConfig, kind: str) -> None:
    model = get_peft_model(ticket.apply(network()), config)
    with pytest.raises(TicketError, match=f"got those of {kind}, which have no weights to merge"):
        merge_lora(model, ticket)
