# Two images. Neither has been built yet: no container engine was at hand. hadolint checks this file.
#
#   docker build --target semface        -t semface:0.1.0 .          # run with the deployable as its argument
#   docker build --target semface-triton -t semface-triton:0.1.0 .   # Triton with the repository built in
#
# Bases are named by exact version. Whoever has pulled one may pin it: --build-arg PYTHON_DIGEST=@sha256:...
ARG PYTHON_TAG=3.11.13-slim-bookworm
ARG PYTHON_DIGEST=
ARG TRITON_TAG=25.01-py3
ARG TRITON_DIGEST=

FROM python:${PYTHON_TAG}${PYTHON_DIGEST} AS environment
WORKDIR /build
RUN python -m venv /opt/semface
COPY requirements-ops.lock ./
RUN /opt/semface/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-ops.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY services services
RUN /opt/semface/bin/pip install --no-cache-dir --no-deps .

# The networks: those of the checkout, and the detector made from its package.
FROM environment AS networks
# What Triton loads is derived for one way of running it: onnxruntime on a GPU, python on a CPU.
ARG TRITON_TARGET=onnxruntime
COPY model_repository /model_repository
RUN /opt/semface/bin/semface models build --repository /model_repository \
    && /opt/semface/bin/semface models build --repository /model_repository --target "${TRITON_TARGET}" --output /models

FROM python:${PYTHON_TAG}${PYTHON_DIGEST} AS semface
# Nothing is installed or compiled where this runs.
RUN pip uninstall --yes setuptools wheel pip
COPY --from=environment /opt/semface /opt/semface
RUN rm -rf /opt/semface/lib/python3.11/site-packages/pip /opt/semface/bin/pip*
COPY --from=networks --chown=0:0 /model_repository /model_repository
ENV PATH=/opt/semface/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SEMFACE_MODEL_REPOSITORY=/model_repository \
    OMP_NUM_THREADS=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["semface", "serve"]

# What builds TensorRT plans runs on Triton's own Python and TensorRT, so that a plan's version is that of the server.
FROM nvcr.io/nvidia/tritonserver:${TRITON_TAG}${TRITON_DIGEST} AS builder
ARG TENSORRT_BINDINGS=10.8.0.43
ARG CUDA_PYTHON=12.8.0
WORKDIR /build
COPY requirements-ops.lock ./
RUN python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/semface -r requirements-ops.lock \
    && python3 -m pip install --no-cache-dir --no-deps --target /opt/semface \
        "tensorrt-cu12-bindings==${TENSORRT_BINDINGS}" "cuda-python==${CUDA_PYTHON}" "cuda-bindings==${CUDA_PYTHON}"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY services services
RUN python3 -m pip install --no-cache-dir --no-deps --target /opt/semface .

FROM nvcr.io/nvidia/tritonserver:${TRITON_TAG}${TRITON_DIGEST} AS semface-triton
# Only the target `python` needs these beside Triton; its Python backend answers with nothing on numpy 2.
RUN python3 -m pip install --no-cache-dir --no-deps onnxruntime==1.20.1 numpy==1.26.4 flatbuffers==25.2.10 \
    && python3 -m pip uninstall --yes pip setuptools wheel
COPY --from=builder --chown=0:0 /opt/semface /opt/semface
COPY --from=networks --chown=0:0 /model_repository /model_repository
COPY --from=networks --chown=0:0 /models /models
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["tritonserver"]
CMD ["--model-repository=/models", "--allow-http=false", "--disable-auto-complete-config"]
