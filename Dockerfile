# The image of the server and of the worker. What a RUN does is a function of deploy/image/steps.sh; `make image` carries
# out this file in a clean Debian root, where no container engine runs. docs/deployment.md says how to run the image.

# Pin it by digest where builds must be the same to the byte.
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS base
COPY deploy/image/steps.sh deploy/image/healthy.py /usr/local/lib/voice-agent/
RUN bash /usr/local/lib/voice-agent/steps.sh system

FROM base AS build
RUN bash /usr/local/lib/voice-agent/steps.sh tools
# Before the package itself: a change of ours does not install 100 packages again.
COPY requirements/build.txt requirements/runtime.txt /src/requirements/
RUN bash /usr/local/lib/voice-agent/steps.sh dependencies
COPY LICENSE README.md pyproject.toml /src/
COPY voice_agent /src/voice_agent/
RUN bash /usr/local/lib/voice-agent/steps.sh package

FROM base AS final
RUN bash /usr/local/lib/voice-agent/steps.sh account
COPY --from=build /opt/voice-agent /opt/voice-agent/
ENV PATH=/opt/voice-agent/bin:/usr/local/bin:/usr/bin:/bin
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/data
ENV HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
# Everything that is written lies here; the rest may be mounted read-only.
VOLUME /data
# Settings are looked for in a file .env of this folder as well; it cannot be written by the account.
WORKDIR /srv
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 CMD ["python3", "-I", "-S", "/usr/local/lib/voice-agent/healthy.py"]
# tini collects orphans and passes signals on, from the first moment.
ENTRYPOINT ["tini", "--", "voice-agent"]
CMD ["serve"]
