# fedtp_jax on NVIDIA GPUs; the host needs a driver for CUDA 13 and NVIDIA's container toolkit. From the repository's root:
#   docker build -f docs/environments/cuda.Dockerfile -t fedtp_jax:cuda .
#   docker run --rm --gpus all fedtp_jax:cuda doctor
#   docker run --rm --gpus all -v "$PWD/runs:/fedtp/runs" fedtp_jax:cuda run configs/quickstart.yaml
# CUDA's libraries come with JAX's wheels, so that the image below them is a plain one.
FROM python:3.12-slim
WORKDIR /fedtp
RUN pip install --no-cache-dir 'jax[cuda13]'
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY fedtp_jax fedtp_jax
RUN pip install --no-cache-dir .
COPY configs configs
ENTRYPOINT ["fedtp"]
