# Postern's two images: one static binary each, and nothing else.
#   docker build --target sidecar --tag postern.dev/postern-sidecar:dev .
# BINARIES is the folder that 'make binaries' filled.
ARG BINARIES=target/binaries

FROM scratch AS operator
ARG BINARIES
COPY ${BINARIES}/postern-operator /postern-operator
USER 65532:65532
ENTRYPOINT ["/postern-operator"]

FROM scratch AS sidecar
ARG BINARIES
COPY ${BINARIES}/postern-sidecar /postern-sidecar
USER 15100:15100
ENTRYPOINT ["/postern-sidecar"]
