# fedtp_jax on CPUs. From the repository's root:
#   docker build -f docs/environments/cpu.Dockerfile -t fedtp_jax .
#   docker run --rm -v "$PWD/runs:/fedtp/runs" fedtp_jax run configs/quickstart.yaml
FROM python:3.12-slim
WORKDIR /fedtp
COPY setup.cfg pyproject.toml README.md LICENSE ./
COPY fedtp_jax fedtp_jax
RUN pip install --no-cache-dir .
COPY configs configs
ENTRYPOINT ["fedtp"]
