# The page and the HTTP service: docs/serve.md, "In a container".
#
#   docker build -t texturenets .                                  for processors
#   docker build -t texturenets --build-arg EXTRAS=web,cuda .      for NVIDIA graphics cards (PyTorch's CUDA build)
FROM python:3.12-slim
ARG EXTRAS=web,openvino
COPY . /source
RUN pip install --no-cache-dir "/source[${EXTRAS}]"
RUN useradd --create-home painter
USER painter
# Converted graphs are kept here: a volume of this name spares the conversion after a restart.
RUN mkdir -p /home/painter/.cache/texturenets
VOLUME /home/painter/.cache/texturenets
EXPOSE 7860
HEALTHCHECK CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/healthz', timeout=5)"
CMD ["texturenets", "serve", "--host", "0.0.0.0", "--public-host", "localhost"]
