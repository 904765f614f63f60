from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path
from typing import Any

import pytest

from mmsa_lightning.errors import UserError
from mmsa_lightning.experiment import components
from mmsa_lightning.experiment.components import build, plugin_files, plugin_hash
from mmsa_lightning.objectives.l1 import L1

L1_PATH = "mmsa_lightning.objectives.l1.L1"

# What config.yaml of a run may name, and a file of a user's own: these paths stay.
PUBLISHED = {
    "model": [
        "models.interactive_attention.InteractiveAttention",
        "models.lmf.LMF",
        "models.mag_bert.MAGBert",
        "models.mfn.MFN",
        "models.misa.MISA",
        "models.mult.MulT",
        "models.raven.RAVEN",
        "models.self_mm.SelfMM",
        "models.tfn.TFN",
    ],
    "objective": [
        "objectives.l1.L1",
        "objectives.misa.MISALoss",
        "objectives.mse.MSE",
        "objectives.multitask.MultiTask",
    ],
    "data": ["data.datamodule.StoreDataModule", "data.demo.DemoDataModule"],
}


def test_builds_the_projects_own_class() -> None:
    assert isinstance(build("objective", {"_target_": L1_PATH}), L1)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torch.nn.Linear",
        "mmsa_lightning.objectives.l1.L2",
        "mmsa_lightning.objectives.nowhere.L1",
        "mmsa_lightning.objectives.multitask.torch.nn.Linear",
        "mmsa_lightning.objectives.multitask.ULGM",  # imported there, defined elsewhere
        "mmsa_lightning.objectives.multitask.task_loss",  # not a class
        "mmsa_lightning.objectives...l1.L1",
        "mmsa_lightning.models.interactive_attention.InteractiveAttention",  # not an objective
        "mmsa_lightning.objectives.base.Loss",  # defined there, and no objective
        "L1",
        "",
        "None",
    ],
)
def test_nothing_else_can_be_named(target: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a"):
        build("objective", {"_target_": target, "args": "true"}, plugins=tmp_path)


def test_what_computes_no_loss_is_refused() -> None:
    target = "mmsa_lightning.objectives.base.Objective"
    with pytest.raises(UserError, match=f"objective._target_={target} has no forward of its own"):
        build("objective", {"_target_": target})


def write_module(path: Path, source: str) -> None:
    path.write_text("from torch import nn\n" + textwrap.dedent(source))


def test_a_class_of_the_users_own_folder(tmp_path: Path) -> None:
    write_module(
        tmp_path / "json.py",
        """
        class Mine(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.width = width
        """,
    )
    built = build("model", {"_target_": "json.Mine", "width": 3}, plugins=tmp_path)
    assert built.width == 3
    import json

    assert json.loads("1") == 1  # the standard library's was not replaced
    with pytest.raises(UserError, match="--config-dir"):
        build("model", {"_target_": "json.Mine", "width": 3})
    with pytest.raises(UserError, match="is not a"):
        build("model", {"_target_": "../x.Mine"}, plugins=tmp_path / "..")


def test_what_the_users_file_imports_from_beside_it_is_its_code_too(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "alone.py").write_text("import json\n")
    (mine / "toy.py").write_text("import json, layers\nfrom mine import heads\n\ndef later():\n    import late\n")
    (mine / "layers.py").write_text("import toy, torch.nn\nfrom parts import one\n")
    for name in ("heads", "late", "parts", "other"):
        (mine / f"{name}.py").write_text("")

    def code(name: str) -> str | None:
        return plugin_hash({"_target_": f"{name}.Toy"}, mine)

    assert code("alone") == hashlib.sha256(b"import json\n").hexdigest()  # that of the file
    assert code("mmsa_lightning.models.tfn") is None and plugin_hash({"_target_": "toy.Toy"}, None) is None
    expected = ["toy.py", "heads.py", "late.py", "layers.py", "parts.py"]
    assert [path.name for path in plugin_files({"_target_": "toy.Toy"}, mine)] == expected
    before = code("toy")
    (mine / "other.py").write_text("one = 1\n")
    assert code("toy") == before
    for name in expected:
        was, known = (mine / name).read_text(), code("toy")
        (mine / name).write_text(was + "one = 1\n")
        assert code("toy") != known
        (mine / name).write_text(was)


def test_wrong_arguments_name_the_right_ones(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(
        "from torch import nn\n\nclass Toy(nn.Module):\n    def __init__(self, width: int, depth=1):\n        pass\n"
    )
    with pytest.raises(UserError, match="takes no widht; it takes width, depth"):
        build("model", {"_target_": "toy.Toy", "widht": 3}, plugins=tmp_path)
    for wrong in ("3", 2.5, True, None):
        with pytest.raises(UserError, match="Toy wants a whole number"):
            build("model", {"_target_": "toy.Toy", "width": wrong}, plugins=tmp_path)
    with pytest.raises(UserError, match="missing a required argument: 'width'"):
        build("model", {"_target_": "toy.Toy"}, plugins=tmp_path)


def test_run_time_arguments_reach_those_who_take_them(tmp_path: Path) -> None:
    write_module(
        tmp_path / "two.py",
        """
        class Takes(nn.Module):
            def __init__(self, dims):
                super().__init__()
                self.dims = dims

        class Inherits(Takes):
            pass

        class Leaves(nn.Module):
            pass
        """,
    )
    assert build("model", {"_target_": "two.Takes"}, plugins=tmp_path, dims={"audio": 5}).dims == {"audio": 5}
    assert build("model", {"_target_": "two.Inherits"}, plugins=tmp_path, dims={"audio": 5}).dims == {"audio": 5}
    build("model", {"_target_": "two.Leaves"}, plugins=tmp_path, dims={"audio": 5})
    with pytest.raises(UserError, match="Leaves takes no width"):
        build("model", {"_target_": "two.Leaves", "width": 3}, plugins=tmp_path)
    with pytest.raises(UserError, match="L1 takes no tanh_weight"):
        build("objective", {"_target_": L1_PATH, "tanh_weight": True})


def test_what_is_left_null_and_needed_comes_from_the_data(tmp_path: Path) -> None:
    write_module(
        tmp_path / "needs.py",
        """
        class Needs(nn.Module):
            def __init__(self, *, limit: float):
                super().__init__()
                self.limit = limit

        class MayLack(nn.Module):
            def __init__(self, *, limit: float | None):
                super().__init__()
                self.limit = limit
        """,
    )

    def limit_of(name: str, value: float | None) -> float | None:
        node = {"_target_": f"needs.{name}", "limit": value}
        return build("model", node, plugins=tmp_path, where_null={"limit": 2.5, "other": 1}).limit

    assert (limit_of("Needs", None), limit_of("Needs", 7.0)) == (2.5, 7.0)
    assert (limit_of("MayLack", None), limit_of("MayLack", 7.0)) == (None, 7.0)
    with pytest.raises(UserError, match="limit=None: Needs wants a number"):
        build("model", {"_target_": "needs.Needs", "limit": None}, plugins=tmp_path)


def test_an_error_inside_a_users_class_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "bug.py").write_text(
        "from torch import nn\n\nclass Bug(nn.Module):\n    def __init__(self):\n        [][1]\n"
    )
    with pytest.raises(IndexError):
        build("model", {"_target_": "bug.Bug"}, plugins=tmp_path)


def test_keyword_arguments_that_are_passed_on_are_not_refused(tmp_path: Path) -> None:
    write_module(
        tmp_path / "passes.py",
        """
        class Base(nn.Module):
            def __init__(self, *, dims, width):
                super().__init__()
                self.dims, self.width = dims, width

        class Passes(Base):
            def __init__(self, *, extra: "Unknown", **others):
                super().__init__(**others)
        """,
    )
    node = {"_target_": "passes.Passes", "extra": 1, "width": 3}
    built = build("model", node, plugins=tmp_path, dims={"audio": 5})
    assert (built.dims, built.width) == ({"audio": 5}, 3)


def test_what_is_passed_on_is_checked_as_the_base_class_wants_it(tmp_path: Path) -> None:
    write_module(
        tmp_path / "passes.py",
        """
        class Base(nn.Module):
            def __init__(self, dims, width: int, *, depth: int = 1):
                super().__init__()
                self.width, self.depth = width, depth

        class Between(Base):
            def __init__(self, *, extra: "Unknown" = None, **others):
                super().__init__(**others)

        class Passes(Between):
            def __init__(self, size: float, **others):
                super().__init__(**others)

        class Open(nn.Module):
            def __init__(self, **others):
                super().__init__()
                self.others = others
        """,
    )

    def built(name: str = "Passes", **arguments: object) -> Any:
        return build("model", {"_target_": f"passes.{name}", **arguments}, plugins=tmp_path, dims={}, unused=1)

    found = built(size=0.5, width=3, extra="x")
    assert (found.width, found.depth) == (3, 1)
    for wrong, message in (
        ({"size": 0.5, "width": 3, "widht": 3}, "Passes takes no widht; it takes size, extra, width, depth$"),
        ({"size": 0.5, "width": 2.5}, "model.width=2.5: Passes wants a whole number"),
        ({"size": "x", "width": 3}, "model.size=x: Passes wants a number"),
        ({"size": 0.5}, "missing a required .*argument: 'width'"),
    ):
        with pytest.raises(UserError, match=message):
            built(**wrong)
    assert built("Open", anything=3).others == {"anything": 3, "dims": {}, "unused": 1}


def test_the_demo_takes_what_any_store_does(tmp_path: Path) -> None:
    """Its own arguments, and all of the class that it extends, with their types and defaults."""
    node = {"_target_": "mmsa_lightning.data.demo.DemoDataModule", "path": str(tmp_path / "demo.h5")}
    node |= {"generator_seed": 0, "counts": {"train": 1, "valid": 1, "test": 1}}
    node |= {"batch_size": 4, "eval_batch_size": 8, "standardize": True, "num_workers": 0}
    given = {"text": "bert", "modalities": None, "seed": 1}
    data = build("data", node, **given)
    assert (data.batch_size, data.text, data.wanted, data.seed, data.order) == (4, "bert", None, 1, "bucket")
    known = "path, generator_seed, counts, batch_size, eval_batch_size, standardize, num_workers, order"
    for wrong, message in (
        ({"bach_size": 4}, f"data: DemoDataModule takes no bach_size; it takes {known}"),
        ({"seed": 4}, f"data: DemoDataModule takes no seed; it takes {known}"),
        ({"batch_size": "4"}, "data.batch_size=4: DemoDataModule wants a whole number"),
        ({"counts": {"train": "1"}}, "data.counts={'train': '1'}: DemoDataModule wants {name: a whole number, …}"),
        ({"order": "x"}, "data: order=x: choose one of bucket, uniform"),
    ):
        with pytest.raises(UserError) as error:
            build("data", node | wrong, **given)
        assert str(error.value) == message
    del node["batch_size"]
    with pytest.raises(UserError, match=r"data: DemoDataModule: missing a required .*argument: 'batch_size'"):
        build("data", node, **given)


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind, paths in PUBLISHED.items() for path in paths])
def test_a_published_path_names_its_class(kind: str, path: str) -> None:
    assert components._find_class(kind, f"mmsa_lightning.{path}", None).__name__ == path.rpartition(".")[2]


def test_what_a_users_own_files_import_is_where_the_documentation_says() -> None:
    from mmsa_lightning.batch import Batch, Padded
    from mmsa_lightning.modalities import MODALITIES
    from mmsa_lightning.models.output import ModelOutput
    from mmsa_lightning.objectives.base import Loss, Objective

    assert all((MODALITIES, Batch, Padded, ModelOutput, Loss, Objective))
