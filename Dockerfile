# The command line, with the tested version of every package.
#
#   docker build --tag mav .
#   docker run --rm --volume "$PWD:/home/mav/work" mav generate "a red circle" --out clips
#
# For a GPU: --build-arg TORCH=torch-pypi --build-arg TORCH_INDEX= , and `docker run --gpus all`.
FROM python:3.11-slim-bookworm AS build

ARG TORCH=torch-cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

COPY requirements/ /requirements/
RUN python -m venv /opt/mav && \
    PIP_EXTRA_INDEX_URL=${TORCH_INDEX} /opt/mav/bin/pip install --no-cache-dir --require-hashes \
        --requirement /requirements/${TORCH}.lock --requirement /requirements/core.lock

COPY . /source/
RUN /opt/mav/bin/pip install --no-cache-dir --no-deps /source && \
    /opt/mav/bin/python -m mav_lightning.common.torchvision_shim

FROM python:3.11-slim-bookworm

COPY --from=build /opt/mav /opt/mav
RUN useradd --create-home --uid 1000 mav && install --directory --owner=mav /home/mav/work
USER 1000
WORKDIR /home/mav/work
ENTRYPOINT ["/opt/mav/bin/mav"]
CMD ["--help"]
