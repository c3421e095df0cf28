"""The examples at the end of each command's help; `example` is the shop that comes with the package."""

from __future__ import annotations

import typer

EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("adapt demo", "adapt demo --output first-look"),
    "doctor": ("adapt doctor", "adapt doctor --json"),
    "data check": (
        "adapt data check example",
        "adapt data check shop/",
        'adapt data check orders.csv --item-col "article no" --user-col buyer --time-col day',
    ),
    "zero-shot": (
        "adapt zero-shot --dataset example",
        'adapt zero-shot --dataset example --history "CAMP-001,CAMP-003" --k 5',
        "adapt zero-shot --dataset example --output results",
    ),
    "few-shot": (
        "adapt few-shot --dataset example --user anna --user ben --k 3",
        "adapt few-shot --dataset example --output results",
    ),
    "finetune": (
        "adapt finetune --dataset example --output runs/shop --epochs 2",
        "adapt finetune --dataset shop/ --output runs/shop",
        "adapt finetune --dataset shop/ --output runs/shop --resume",
    ),
    "recommend": (
        "adapt recommend --run runs/shop --dataset example --user anna --k 3",
        'adapt recommend --run runs/shop --dataset example --history "CAMP-001" --method few-shot',
        "adapt recommend --run runs/shop --dataset shop/ --output results",
    ),
    "evaluate": (
        "adapt evaluate --dataset example --methods popularity,zero-shot,few-shot",
        "adapt evaluate --dataset shop/ --run runs/shop --output evaluation",
        "adapt evaluate --dataset shop/ --protocol cold-items",
        "adapt evaluate --dataset shop/ --learning-curve 0,1,10,100",
    ),
    "index build": (
        "adapt index build --dataset example --output shop-index",
        "adapt index build --dataset shop/ --run runs/shop --output tuned-index",
        "adapt index build --dataset shop/ --output shop-index --kind hnsw --storage float16",
        "adapt index build --dataset shop/ --output shop-index --engine milvus --uri http://localhost:19530",
    ),
    "index search": (
        'adapt index search --index shop-index --text "something warm for the night" --k 3',
        'adapt index search --index shop-index --history "CAMP-001,CAMP-003" --where "price<=50"',
        "adapt index search --index shop-index --item COFF-001 --diversity 0.3",
        "adapt index search --index shop-index --image photo.jpg",
    ),
    "index info": ("adapt index info --index shop-index",),
    "index verify": ("adapt index verify --index shop-index",),
    "index add": ("adapt index add --index shop-index --dataset new-items.csv",),
    "index remove": (
        "adapt index remove --index shop-index --item COFF-001 --item COFF-002",
        "adapt index remove --index shop-index --items sold-out.txt",
    ),
    "index compact": (
        "adapt index compact --index shop-index",
        "adapt index compact --index shop-index --refit",
    ),
    "index move": (
        "adapt index move --index shop-index --engine milvus --uri shop.db",
        "adapt index move --index shop-index --engine milvus --uri https://milvus.example:19530 --collection shop",
        "adapt index move --index shop-index --engine local --kind hnsw",
    ),
    "serve": (
        "adapt serve --index shop-index --dataset shop/",
        "adapt serve --new-key write",
        "adapt serve --index shop-index --dataset shop/ --host 0.0.0.0 --port 8017 --api-keys keys.txt",
    ),
    "hub list": ("adapt hub list", "adapt hub list --org my-shop"),
    "hub show": ("adapt hub show adapt-mini",),
    "hub compare": (
        "adapt hub compare example adapt-mini adapt-mini-nomovies",
        "adapt hub compare shop/ adapt-mini my-shop/towers@main",
    ),
    "hub pull": (
        "adapt hub pull my-shop/towers",
        "adapt hub pull my-shop/towers --revision v1 --output towers",
    ),
    "hub verify": ("adapt hub verify adapt-mini", "adapt hub verify my-shop/towers@main --allow-download"),
    "hub diff": ("adapt hub diff adapt-mini adapt-mini-nomovies", "adapt hub diff towers my-shop/towers"),
    "hub new": ("adapt hub new my-shop/towers", "adapt hub new my-shop/towers --output towers"),
    "hub card": (
        "adapt hub card runs/shop/adapter --repo my-shop/adapter --license mit",
        "adapt hub card towers --repo my-shop/towers --license apache-2.0",
    ),
    "hub push": (
        "adapt hub push runs/shop my-shop/adapter --dry-run",
        "adapt hub push towers my-shop/towers --private",
    ),
    "pretrain": (
        "adapt pretrain --list",
        "adapt pretrain --show own_data",
        "adapt pretrain --recipe own_data --dataset shop-a --dataset shop-b --dry-run",
        "adapt pretrain --recipe own_data --dataset shop-a --dataset shop-b --output towers",
    ),
}
"""Command -> what a person may type, in the order in which it is worth trying."""


def attach(app: typer.Typer, parents: str = "") -> None:
    """Give every command of ``app`` its examples.

    Args:
        app: with the commands and groups registered.
        parents: the words before its commands, such as "index ".
    """
    for command in app.registered_commands:
        if lines := EXAMPLES.get(f"{parents}{command.name}"):
            command.epilog = "Examples\n\n" + "\n\n".join(f"$ {line}" for line in lines)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            attach(group.typer_instance, f"{parents}{group.name} ")
