"""torch.compiler.save_cache_artifacts: the persistent cache of one process as another one's."""

import jax
import pytest

from torchlike import NotSupported, compiler


@pytest.fixture
def folders(tmp_path):
    """Two empty folders; JAX looks where it did before when the test is over."""
    before = jax.config.jax_compilation_cache_dir
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    yield tmp_path / "a", tmp_path / "b"
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_of_one_folder_go_into_another(folders):
    one, other = folders
    jax.config.update("jax_compilation_cache_dir", None)
    with pytest.raises(NotSupported, match="persistent_cache"):
        compiler.save_cache_artifacts()
    jax.config.update("jax_compilation_cache_dir", str(one))
    assert compiler.save_cache_artifacts() is None
    (one / "jit_step-1-cache").write_bytes(b"program")
    (one / "jit_step-1-atime").write_bytes(b"not this")
    data, info = compiler.save_cache_artifacts()
    assert info.artifacts == {"xla": ["jit_step-1-cache"]}
    jax.config.update("jax_compilation_cache_dir", str(other))
    assert compiler.load_cache_artifacts(data) == info
    assert [(p.name, p.read_bytes()) for p in other.iterdir()] == [("jit_step-1-cache", b"program")]
    for bad in (b"", b"no zip", data.replace(b"jit_step-1-cache", b"../it_step-cache")):
        with pytest.raises(RuntimeError, match="no cache artifacts"):
            compiler.load_cache_artifacts(bad)
