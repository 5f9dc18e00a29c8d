# The image of all pods: controller, admission server, event sources, sensors, runners.
#
#   docker build -t argosy:0.1.0 .
#   docker build -t argosy:0.1.0-small --build-arg EXTRAS=amqp,kubernetes .
#
# EXTRAS are those of pyproject.toml; controller and admission server need "kubernetes". What is installed is what
# requirements.lock pins, checked by its hashes. The root file system may be read-only; only /tmp is written to.

ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG EXTRAS=all
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock pyproject.toml README.md LICENSE ./
COPY tools/pinned.py tools/pinned.py
COPY src src
# What builds the package stays out of the image, and so does pip.
RUN python -m venv /opt/build && python -m venv --without-pip /opt/argosy
RUN echo setuptools | python tools/pinned.py > /opt/build/tools.txt \
 && /opt/build/bin/pip install --quiet --no-deps --require-hashes -r /opt/build/tools.txt
# pip resolves what the extras need; of that, the lock says which versions, and what they hash to.
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ \\]*\).*/\1/p' requirements.lock > /opt/build/versions.txt \
 && /opt/build/bin/pip install --quiet --dry-run --ignore-installed --no-build-isolation \
      --constraint /opt/build/versions.txt --report /opt/build/report.json ".[${EXTRAS}]" \
 && python tools/pinned.py --report /opt/build/report.json > /opt/build/needed.txt \
 && /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --require-hashes \
      --wheel-dir /opt/build/wheels -r /opt/build/needed.txt \
 && /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /opt/build/wheels . \
 && /opt/build/bin/pip --python /opt/argosy/bin/python install --quiet --no-deps --no-index /opt/build/wheels/*.whl \
 && /opt/build/bin/pip --python /opt/argosy/bin/python check

FROM python:${PYTHON}-slim
# git and ssh are what a trigger's source.git calls. Without a name for its user, ssh does not start.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* \
 && echo "argosy:x:9731:9731::/tmp:/usr/sbin/nologin" >> /etc/passwd \
 && echo "argosy:x:9731:" >> /etc/group
COPY --from=build /opt/argosy /opt/argosy
ENV PATH=/opt/argosy/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 9731:9731
WORKDIR /tmp
EXPOSE 7777
ENTRYPOINT ["argosy"]
CMD ["--help"]
