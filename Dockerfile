# rankseg-med for CPU, or for CUDA with another index of PyTorch's builds; see docs/containers.md:
#   docker build --tag rankseg_med .
#   docker build --tag rankseg_med:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .

FROM python:3.12-slim AS build

# constraints.txt pins torch without a build tag (2.13.0, not 2.13.0+cpu): that fits every build of the version, so that
# the version is the lock's and the build is this index's. torch alone comes from here, all else from PyPI, what a CUDA
# build needs of NVIDIA too, at the versions that its own metadata pins.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN python -m venv /opt/rankseg_med
ENV PATH=/opt/rankseg_med/bin:$PATH
WORKDIR /source

# First what seldom changes and takes longest.
COPY constraints.txt ./
RUN pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" --constraint constraints.txt torch

COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY rankseg_med rankseg_med
RUN pip install --no-cache-dir --constraint constraints.txt . && pip check


# The installed package alone, without sources and what pip left.
FROM python:3.12-slim

LABEL org.opencontainers.image.title="rankseg-med" \
      org.opencontainers.image.description="Decode segmentation networks for Dice and IoU instead of voxel accuracy" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-2-Clause" \
      org.opencontainers.image.base.name="docker.io/library/python:3.12-slim"

COPY --from=build /opt/rankseg_med /opt/rankseg_med
# Libraries that keep files of their own look for a home; of a read-only container /tmp alone can be written to.
ENV PATH=/opt/rankseg_med/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1

# By number, so that Kubernetes sees that it is not root; --user makes it yours.
USER 1000:1000
WORKDIR /work
ENTRYPOINT ["rankseg-med"]
CMD ["--help"]
