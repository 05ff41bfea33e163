# The page and the HTTP service: docs/serve.md, "In a container".
#
#   docker build -t texturenets .                                  for processors
#   docker build -t texturenets --build-arg EXTRAS=web,cuda .      for NVIDIA GPUs (PyTorch's CUDA build)
FROM python:3.12-slim
ARG EXTRAS=web,openvino
COPY . /source
RUN pip install --no-cache-dir "/source[${EXTRAS}]"
# Converted graphs are kept in .cache/texturenets: a volume of this name spares the conversion after a restart.
RUN useradd --create-home --uid 10001 painter && \
    install -d -o painter -g painter /home/painter/.cache /home/painter/.cache/texturenets
USER 10001
VOLUME /home/painter/.cache/texturenets
EXPOSE 7860
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=5)"]
# Only this host name is accepted, against DNS rebinding: set the variable for others, separated by spaces.
ENV TEXTURENETS_SERVE_PUBLIC_HOST=localhost
CMD ["texturenets", "serve", "--host", "0.0.0.0"]
