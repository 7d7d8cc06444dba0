# Quorate as a container: one static binary and a folder for its data, nothing else.
#
#   docker build -t quorate .
#
# Where no module proxy can be reached directly: --build-arg GOPROXY=…

FROM golang:1.26 AS build
ARG GOPROXY
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The data folder is made here because the last stage has nothing to make it with.
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/quorate ./cmd/quorate && mkdir /out/data

FROM scratch
LABEL org.opencontainers.image.title="quorate" \
      org.opencontainers.image.description="A leaderless, Dynamo-style key-value store" \
      org.opencontainers.image.licenses="Apache-2.0"
# 65532 is nobody in particular; a number, so that an orchestrator can see that it is not root.
COPY --from=build --chown=65532:65532 /out/ /
USER 65532:65532
ENV QUORATE_DATA=/data QUORATE_HTTP=:8080 QUORATE_GOSSIP=:7946 QUORATE_RPC=:7947
VOLUME /data
EXPOSE 8080 7946/tcp 7946/udp 7947
# A node drains for at most 9 s.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/quorate", "health"]
ENTRYPOINT ["/quorate"]
CMD ["serve"]
