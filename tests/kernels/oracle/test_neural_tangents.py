"""The promises of the neural-tangents adapter, each in a fresh interpreter.

This file also runs alone in a small environment (JAX, neural-tangents, pytest), see ``.ci/run``.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

IMPORT_OUTCOME = """
def import_outcome():
    try:
        import neural_tangents
    except BaseException as error:
        return type(error).__name__, str(error)
    return "imported", neural_tangents.__name__, sorted(vars(neural_tangents))
"""


def run_python(*parts: str) -> str:
    code = "\n".join(textwrap.dedent(part) for part in parts)
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_adapter_imports_neither_neural_tangents_nor_tensorflow_nor_jax() -> None:
    run_python(
        """
        import sys
        import ntk_nonlocal.kernels.oracle.neural_tangents
        loaded = [name for name in sys.modules if name.split(".")[0] in ("jax", "tensorflow", "neural_tangents")]
        assert not loaded, loaded
        assert not [name for name in sys.modules if "_library" in name and name.startswith("ntk_nonlocal")]
        """
    )


def test_stax_computes_the_arc_cosine_kernel() -> None:
    run_python(
        """
        import jax, numpy as np
        from ntk_nonlocal.kernels.oracle.neural_tangents import stax
        s = stax()
        assert stax() is s
        _, _, kernel_fn = s.serial(s.Dense(4, W_std=2 ** 0.5), s.Relu())
        x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
        q = np.sqrt((x.astype(float) ** 2).sum(1))
        angle = np.arccos(np.clip(x @ x.T / np.outer(q, q), -1, 1))
        formula = np.outer(q, q) * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (3 * np.pi)
        np.testing.assert_allclose(kernel_fn(x, None, "nngp"), formula, atol=1e-5)
        """
    )


def test_predict_and_batch_work() -> None:
    run_python(
        """
        import numpy as np
        from ntk_nonlocal.kernels.oracle import neural_tangents as nt
        s = nt.stax()
        _, _, kernel_fn = s.serial(s.Dense(4), s.Erf(), s.Dense(1))
        x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
        y = np.random.default_rng(1).normal(size=(6, 1)).astype(np.float32)
        theta = np.asarray(kernel_fn(x, None, "ntk"))
        np.testing.assert_allclose(nt.batch()(kernel_fn, batch_size=3)(x, None, "ntk"), theta, rtol=1e-5, atol=1e-6)
        predicted = nt.predict().gradient_descent_mse(theta, y)(2.0, np.zeros_like(y))
        values, vectors = np.linalg.eigh(theta.astype(float))
        expected = vectors @ ((1 - np.exp(-2.0 * values / y.size))[:, None] * (vectors.T @ y))
        np.testing.assert_allclose(predicted, expected, atol=1e-4)
        """
    )


def test_no_tensorflow_is_imported_and_none_is_missed() -> None:
    run_python(
        """
        import sys
        class Forbidden:
            def find_spec(self, name, path=None, target=None):
                assert name.split(".")[0] not in ("tensorflow", "tf2jax"), name
        sys.meta_path.insert(0, Forbidden())
        from ntk_nonlocal.kernels.oracle import neural_tangents as nt
        nt.stax(), nt.predict(), nt.batch()
        assert not {"tensorflow", "tf2jax"} & set(sys.modules)
        """
    )


def test_jax_and_the_name_neural_tangents_stay_as_they_were() -> None:
    run_python(
        """
        import sys, jax, jax.core, jax.interpreters.ad, jax.extend.linear_util, jax.experimental.ode
        import jax.example_libraries.stax, jax.scipy.special
        def snapshot():
            return {name: dict(vars(module)) for name, module in sys.modules.items()
                    if name == "jax" or name.startswith(("jax.", "jaxlib"))}
        before = snapshot()
        filters = list(__import__("warnings").filters)
        from ntk_nonlocal.kernels.oracle import neural_tangents as nt
        nt.stax(), nt.predict(), nt.batch()
        after = snapshot()
        for module in before:
            changed = {name for name in set(before[module]) | set(after[module])
                       if before[module].get(name) is not after[module].get(name)
                       and f"{module}.{name}" not in sys.modules}
            assert not changed, (module, changed)
        assert not [name for name in sys.modules if name.split(".")[0] == "neural_tangents"]
        assert filters == __import__("warnings").filters
        """
    )


def test_an_application_that_imports_neural_tangents_afterwards_sees_what_it_would_have_seen() -> None:
    untouched = run_python(IMPORT_OUTCOME, "print(import_outcome())")
    after_us = run_python(
        IMPORT_OUTCOME,
        "from ntk_nonlocal.kernels.oracle import neural_tangents as nt; nt.stax(); nt.predict(); nt.batch()",
        "print(import_outcome())",
    )
    assert after_us == untouched


def test_an_application_that_tried_to_import_neural_tangents_before_us_does_not_disturb_us() -> None:
    untouched = run_python(IMPORT_OUTCOME, "print(import_outcome())")
    around_us = run_python(
        IMPORT_OUTCOME,
        "first = import_outcome()",
        "from ntk_nonlocal.kernels.oracle import neural_tangents as nt; assert nt.stax().Relu",
        "assert import_outcome() == first",
        "print(first)",
    )
    assert around_us == untouched


def test_an_application_with_its_own_working_neural_tangents_keeps_it() -> None:
    """Such an application enters the package by a root of its own, before us or after."""
    own_root = """
    import importlib, importlib.machinery, sys, types
    def enter():
        folder = importlib.machinery.PathFinder.find_spec("neural_tangents").submodule_search_locations
        root = types.ModuleType("neural_tangents")
        root.__path__ = list(folder)
        sys.modules["neural_tangents"] = root
        return root, importlib.import_module("neural_tangents.stax")
    def use(stax):
        import numpy as np
        _, _, kernel_fn = stax.serial(stax.Dense(4), stax.Relu(), stax.Dense(1))
        return float(kernel_fn(np.ones((1, 3), np.float32), None, "ntk")[0, 0])
    """
    check = """
    assert sys.modules["neural_tangents"] is root and sys.modules["neural_tangents.stax"] is theirs
    assert ours is not theirs and use(ours) == use(theirs) == 1.0
    """
    ours = "from ntk_nonlocal.kernels.oracle.neural_tangents import stax; ours = stax()"
    run_python(own_root, "root, theirs = enter()", ours, check)
    run_python(own_root, ours, "root, theirs = enter()", check)


def test_many_threads_get_the_same_module() -> None:
    run_python(
        """
        import threading
        from concurrent.futures import ThreadPoolExecutor
        from ntk_nonlocal.kernels.oracle import neural_tangents as nt
        barrier = threading.Barrier(8)
        def load(_):
            barrier.wait()
            return nt.stax(), nt.predict(), nt.batch(), nt.stax().Relu()
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(load, range(8)))
        for position in range(3):
            assert len({id(result[position]) for result in results}) == 1
        """
    )


def test_a_missing_installation_says_what_to_do_and_a_later_one_is_found() -> None:
    output = run_python(
        """
        import sys
        class Hidden:
            hidden = "neural_tangents"
            def find_spec(self, name, path=None, target=None):
                if name == self.hidden:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        hide = Hidden()
        sys.meta_path.insert(0, hide)
        from ntk_nonlocal.kernels.oracle.neural_tangents import stax
        saved, sys.meta_path[:] = list(sys.meta_path), []
        try:
            stax()
        except ImportError as error:
            print(error)
        sys.meta_path[:] = saved
        hide.hidden = "frozendict"
        try:
            stax()
        except ImportError as error:
            print(error)
        hide.hidden = ""
        assert stax().Relu
        """
    )
    missing, dependency = output.splitlines()
    assert "neural-tangents is not installed: pip install --no-deps neural-tangents==0.6.5 frozendict" in missing
    assert "frozendict, which is not installed" in dependency
