"""Free text of messages: addresses, links, chains, commands and figures. Each trap occurred in a real chat."""

import pytest

from quantbot_pipeline.ingest.alerts.addresses import BREAK, find_addresses
from quantbot_pipeline.ingest.alerts.amounts import parse_amount
from quantbot_pipeline.ingest.alerts.callers import clean_name
from quantbot_pipeline.ingest.alerts.links import read_link
from quantbot_pipeline.ingest.alerts.messages import command_of, read_figures, read_message, stated_chain
from quantbot_pipeline.ingest.alerts.records import AddressKind
from quantbot_pipeline.ingest.tokens import encode_base58

# 44 characters; the 43 without the last decode to 32 bytes too.
BONK = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
PUMP = "9MLZegMaTpitzP3ps9eGUC4GwMLYv8pxTkMFuKhvpump"
PLAIN = "FDcjznQLP6KLCgrEPF35PNpFMebmGLDhPji8TCmVdkK8"
POOL = "5iinRFMVtmHsFxqexarG2YT8xSzxb2NQbAbrhZMG9mf7"
EVM = "0x6979420908dd937df18c845a98939ed58e28b053"
SIGNATURE = encode_base58(bytes(range(1, 65)))


def named(text: str, *links: str, pools: dict[str, str] | None = None) -> list[tuple[str, str]]:
    reading = read_message(text, links, pools)
    assert reading.unclear == ()
    return [(one.token.chain, one.token.address) for one in reading.tokens]


def only_doubt(text: str) -> str:
    reading = read_message(text)
    assert reading.tokens == ()
    (unclear,) = reading.unclear
    return unclear.reason


# ---- Solana


@pytest.mark.parametrize(
    "text",
    [
        PUMP,
        f"Gambled this: {PUMP}. low cap",
        f"{PUMP}- low cap - great lore - nfa",
        f"{PUMP}$LOL",
        f"launched 40 minutes ago this one:{PUMP}",
        f"欢乐马{PUMP}欢乐马",
        f"\u00a0{PUMP}\u00a0now",
        f"\u200b{PUMP}\u2060\u200b",
        f"first line\n{PUMP}\r\nlast line",
        f"{BREAK}{PUMP}{BREAK}watching",
        f"{PUMP} {PUMP}\n{PUMP}",
        f"{PUMP[:20]}\u200b{PUMP[20:]}",
        f"{PUMP[:20]}\u00ad{PUMP[20:]}",
        f"{PUMP[:20]}\n{PUMP[20:]}",
        f"buy\n{PUMP[:20]} \r\n {PUMP[20:]} now",
        f"{PUMP}'; drop table alerts; --",
        f"<b>{PUMP}</b><script>",
    ],
)
def test_an_address_is_found_in_whatever_stands_around_it(text: str) -> None:
    assert named(text) == [("solana", PUMP)]


@pytest.mark.parametrize(
    ("text", "mint"),
    [
        # 44 + 8 characters: 43, 44 and the last 43 decode to 32 bytes; only one ends as a launchpad's mint.
        (f"{BONK}watching", BONK),
        # 43 + 6: 43 and 44 characters decode, "…bonk" and "…bonkG".
        ("5kx6u1iN3bEUxWboawVS8uK745tBuhxSb8jApcYbonkGamble", "5kx6u1iN3bEUxWboawVS8uK745tBuhxSb8jApcYbonk"),
        # 43 + 6: with the "g" of "gamble", 44 characters, it would be 33 bytes.
        ("ufxNwEGJWEz4f8Lf9xqx32J75i3QsMUwAWLeDsK8Lc7gamble", "ufxNwEGJWEz4f8Lf9xqx32J75i3QsMUwAWLeDsK8Lc7"),
        # O is no base58 digit, but that alone does not tell where the address ends.
        (f"{PUMP}Of the day", PUMP),
    ],
)
def test_text_glued_to_an_address_is_told_from_it_by_what_decodes(text: str, mint: str) -> None:
    reading = read_message(text)
    (one,) = reading.tokens
    assert one.token.address == mint
    assert "text was glued to the address" in one.notes[0]


def test_text_glued_before_an_address_is_ambiguous_when_two_parts_decode() -> None:
    """The last 44 and the last 43 characters both decode; a reader once took the first 44, which do not."""
    run = "js71zMNmZ9EMvgyKtoafAxgqALKjdmM8qzTJGHB4EEbonk"
    reason = only_doubt(run)
    assert f"could be {run[3:]} or {run[2:]}" in reason


def test_an_address_that_goes_on_behind_a_launchpads_ending_is_ambiguous() -> None:
    """All 44 characters decode, and so do the 43 that end in bonk."""
    assert "could be itself, or 5kx6u1iN3bEUxWboawVS8uK745tBuhxSb8jApcYbonk" in only_doubt(
        "5kx6u1iN3bEUxWboawVS8uK745tBuhxSb8jApcYbonkG"
    )


def test_a_lower_cased_address_is_not_taken_for_another_token() -> None:
    lowered = PLAIN.lower().replace("l", "k")
    assert "lost the case of its letters" in only_doubt(lowered[:43])


@pytest.mark.parametrize(
    "text",
    [
        SIGNATURE,
        "a" * 64,
        "2bf4a5c6" * 5 + "abc",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKPNdo",
        "1" * 32,
        "A" * 100_000,
        "ab1" * 50_000,
        "gm everyone, big day",
        "",
    ],
    ids=lambda text: text[:12],
)
def test_signatures_hashes_and_content_ids_are_no_tokens(text: str) -> None:
    assert len(SIGNATURE) in (86, 87, 88)
    assert find_addresses(text) == []


# ---- EVM


def test_a_0x_address_is_on_no_chain_until_something_says_so() -> None:
    """Every 0x address was once taken for bsc."""
    (one,) = read_message(EVM.replace("dd937df", "DD937DF")).tokens
    assert (one.token.chain, one.token.address, one.is_placed) == ("unknown-evm", EVM, False)


def test_no_solana_address_is_seen_inside_an_evm_address() -> None:
    """Without its 0 an EVM address is base58 to the eye: `xb3266A162ecE373Bf27f22Dd7FBD28EabA7bA32d`."""
    assert named("0xb3266A162ecE373Bf27f22Dd7FBD28EabA7bA32d") == [
        ("unknown-evm", "0xb3266a162ece373bf27f22dd7fbd28eaba7ba32d")
    ]
    assert named(f"{EVM}{BONK}") == [("unknown-evm", EVM)]


def test_glued_text_that_begins_with_a_hex_digit_is_no_part_of_the_address() -> None:
    """The A of `Aped` is a hex digit."""
    (one,) = read_message(f"{EVM}Aped the KLIK version").tokens
    assert one.token.address == EVM
    assert one.notes == ("text was glued to the address: 'A…'",)


def test_a_0x_number_of_another_length_is_no_address() -> None:
    assert read_message(EVM[:-1]).tokens == ()
    assert "has 42 hex digits" in only_doubt(EVM + "ad")
    assert read_message("0x" + "ab" * 32) == read_message("")


def test_an_evm_address_broken_over_two_lines_is_put_together() -> None:
    assert named(f"{EVM[:20]}\n{EVM[20:]}") == [("unknown-evm", EVM)]


@pytest.mark.parametrize(
    ("text", "chain"),
    [
        ("New sale on Base detected!", "base"),
        ("chain: BSC", "bsc"),
        ("Network = ethereum", "ethereum"),
        ("└ Base\n├ CA", "base"),
        # An amount, an English word, and two chains at once say nothing.
        ("SC/HC: 2 / 17 ETH", None),
        ("a solid base to build on", None),
        ("live on base, soon on bsc", None),
        ("on Solana", None),
        ("on top of it", None),
    ],
)
def test_the_chain_of_a_0x_address_is_what_the_text_states(text: str, chain: str | None) -> None:
    assert stated_chain(text) == chain
    assert named(f"{text}\n{EVM}") == [(chain or "unknown-evm", EVM)]


# ---- links


@pytest.mark.parametrize(
    ("link", "chain", "address", "kind"),
    [
        (f"https://dexscreener.com/solana/{POOL}", "solana", POOL, AddressKind.POOL),
        (f"dexscreener.com/base/{EVM}?maker=x", "base", EVM, AddressKind.POOL),
        (f"https://axiom.trade/meme/{POOL}?chain=sol", "solana", POOL, AddressKind.POOL),
        (f"https://axiom.trade/t/{PUMP}/@someone", None, PUMP, AddressKind.TOKEN),
        (f"https://pump.fun/{PUMP}", "solana", PUMP, AddressKind.TOKEN),
        (f"https://www.pump.fun/coin/{PUMP}", "solana", PUMP, AddressKind.TOKEN),
        (f"https://birdeye.so/token/{PUMP}?chain=solana", "solana", PUMP, AddressKind.TOKEN),
        (f"https://birdeye.so/base/token/{EVM}", "base", EVM, AddressKind.TOKEN),
        (f"https://gmgn.ai/sol/token/abc_{PUMP}", "solana", PUMP, AddressKind.TOKEN),
        (f"https://photon-sol.tinyastro.io/en/lp/{POOL}", "solana", POOL, AddressKind.POOL),
        (f"https://www.geckoterminal.com/de/eth/pools/{EVM}", "ethereum", EVM, AddressKind.POOL),
        (f"https://www.geckoterminal.com/solana/tokens/{PUMP}", "solana", PUMP, AddressKind.TOKEN),
        (f"https://www.dextools.io/app/en/bnb/pair-explorer/{EVM}", "bsc", EVM, AddressKind.POOL),
        (f"https://basescan.org/token/{EVM}", "base", EVM, AddressKind.TOKEN),
        # The exporter lost the line end behind the link.
        (f"https://gempad.app/presale/{EVM}?network=BaseAlways", "base", EVM, AddressKind.TOKEN),
        (f"https://example.org/x?token={EVM}&chainId=56", "bsc", EVM, AddressKind.TOKEN),
        (f"https://pump.fun/{BONK}watching", "solana", BONK, AddressKind.TOKEN),
    ],
)
def test_links_name_a_token_or_a_pool_and_a_chain(
    link: str, chain: str | None, address: str, kind: AddressKind
) -> None:
    linked = read_link(link)
    assert linked is not None
    assert (linked.found.address, linked.chain, linked.kind) == (address, chain, kind)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "link",
    [
        f"https://solscan.io/tx/{SIGNATURE}",
        f"https://solscan.io/account/{PLAIN}",
        f"https://etherscan.io/address/{EVM}",
        f"https://t.me/some_bot?start=ref_{PLAIN}",
        f"https://example.org/files/{PLAIN}",
        "https://dexscreener.com/solana",
        "https://pump.fun/board",
        "https://[broken",
        "https://",
        "",
    ],
)
def test_other_links_name_nothing(link: str) -> None:
    assert read_link(link) is None
    assert read_message(f"see {link} now").tokens == ()


def test_a_linked_pool_stays_a_pool_where_its_token_is_not_known() -> None:
    (one,) = read_message(f"https://dexscreener.com/solana/{POOL}").tokens
    assert (one.token.address, one.kind, one.pool) == (POOL, AddressKind.POOL, None)


def test_a_linked_pool_is_its_token_where_that_is_known() -> None:
    (one,) = read_message(f"https://dexscreener.com/solana/{POOL}", (), {POOL: PUMP}).tokens
    assert (one.token.address, one.kind, one.pool) == (PUMP, AddressKind.TOKEN, POOL)


def test_a_pool_beside_a_token_is_one_call_of_the_token() -> None:
    reading = read_message(f"{PUMP} https://dexscreener.com/solana/{POOL}")
    assert [one.token.address for one in reading.tokens] == [PUMP]
    assert reading.linked_pools == (POOL,)


def test_a_link_says_the_chain_of_an_address_that_stands_alone_too() -> None:
    assert named(f"{EVM} chart https://basescan.org/token/{EVM}") == [("base", EVM)]
    assert named(f"{EVM} here", f"https://birdeye.so/bsc/token/{EVM}") == [("bsc", EVM)]


def test_a_message_may_name_several_tokens_and_quote_coins_do_not_count_beside_them() -> None:
    wrapped = "So11111111111111111111111111111111111111112"
    assert named(f"{PUMP} or {BONK}") == [("solana", PUMP), ("solana", BONK)]
    assert named(f"{PUMP} / {wrapped}") == [("solana", PUMP)]
    assert named(wrapped) == [("solana", wrapped)]


def test_what_is_clear_elsewhere_in_the_message_is_no_doubt() -> None:
    doubtful = f"buy{PLAIN}"
    assert read_message(doubtful).unclear != ()
    assert named(f"{doubtful} {PLAIN}") == [("solana", PLAIN)]


# ---- commands, figures, amounts, names


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (f"/pnl {PUMP}", "/pnl"),
        (f"/th {PUMP}", "/th"),
        ("/p", "/p"),
        (f" \u200b/chart@rick_bot\n{PUMP}", "/chart"),
        (f"{BREAK}/pnl{BREAK} {PUMP}", "/pnl"),
        (f"see /pnl {PUMP}", None),
        (f"/solana/{PUMP}", None),
        (f"// {PUMP}", None),
        ("", None),
    ],
)
def test_a_message_that_begins_with_a_command_is_one(text: str, command: str | None) -> None:
    assert command_of(text) == command


def test_a_bots_figures_are_read_by_their_labels() -> None:
    figures = read_figures("🟢 NPC\n└ Solana\n💰 USD: $0.0031908\n💎 FDV: $3200K\n", "NPC")
    assert figures == (0.0031908, 3_200_000.0, "NPC", ())
    assert read_figures("🟢 TN [26.3K/1%] $TN\nPrice: `0.0₄2645`\nMC: 26.3K ⇨ 1.2M") == (0.00002645, 26_300.0, "TN", ())


def test_a_market_cap_without_its_unit_is_unknown() -> None:
    """3.2 stood beside 3200000.0 for one call."""
    figures = read_figures("MC: $3.2")
    assert figures.market_cap is None
    assert "below 1000" in figures.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        f"{PLAIN[:20]}4p mC1yvsLbvW",
        "HSierbs7XspCMK8fUgCin9p4mC1yvsLbvW4usgz3pump low cap nfa",
        "ATH MC: $5M",
        "price soon",
        "USD: $",
        "USD: 0",
    ],
)
def test_what_is_no_labelled_figure_is_none(text: str) -> None:
    assert read_figures(text)[:2] == (None, None)


@pytest.mark.parametrize(
    ("text", "amount", "has_unit"),
    [
        ("3.6M", 3_600_000.0, True),
        ("71.75K", 71_750.0, True),
        ("1B", 1e9, True),
        ("1000M", 1e9, True),
        ("$26.3k", 26_300.0, True),
        ("1,234,567.5", 1_234_567.5, False),
        ("$0.0002215", 0.0002215, False),
        ("2.645e-05", 2.645e-05, False),
        # The small figure counts the zeros behind the point.
        ("0.0₅2645", 0.000002645, False),
        ("0.0{5}2645", 0.000002645, False),
    ],
)
def test_amounts_are_read_in_every_way_of_writing(text: str, amount: float, has_unit: bool) -> None:
    assert parse_amount(text, "mcap") == (amount, has_unit)


@pytest.mark.parametrize(
    ("written", "name", "attributes"),
    [
        ("Brook  💀🧲", "Brook  💀🧲", {}),
        (
            "TY/ACC NO INFO \n       \nRise & Reign callz  23.11.2025 12:09:19",
            "TY/ACC NO INFO",
            {"forwarded_from": "Rise & Reign callz", "forwarded_at_as_written": "23.11.2025 12:09:19"},
        ),
        ("Cobalt via @gif", "Cobalt", {"via_bot": "@gif"}),
        ("Croz 19.07.2025 01:20:39", "Croz", {"date_as_written": "19.07.2025 01:20:39"}),
        ("Ann\nof the North", "Ann of the North", {}),
        ("\u200b\n", None, {}),
    ],
)
def test_names_are_cleaned_and_kept_as_written(written: str, name: str | None, attributes: dict[str, str]) -> None:
    cleaned, found = clean_name(written)
    assert cleaned == name
    assert found == attributes | ({} if written == name else {"name_as_written": written})
