# shellcheck shell=bash
# Certificates, kubeconfigs and the components' configuration files, all in $RUN.
# shellcheck disable=SC2153  # NAME is lib.sh's

# certificate NAME SUBJECT [SAN]: signed by the cluster's authority, for both ends of TLS.
certificate() {
  openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
    -CA "$RUN/pki/ca.crt" -CAkey "$RUN/pki/ca.key" -subj "$2" \
    -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
    -addext extendedKeyUsage=serverAuth,clientAuth ${3:+-addext "subjectAltName=$3"} \
    -keyout "$RUN/pki/$1.key" -out "$RUN/pki/$1.crt" 2> /dev/null
}

# kubeconfig NAME FILE: for who holds the certificate NAME.
kubeconfig() {
  cat > "$2" << YAML
apiVersion: v1
kind: Config
clusters:
- name: $NAME
  cluster:
    server: https://$NODE_IP:6443
    certificate-authority-data: $(base64 -w0 "$RUN/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$RUN/pki/$1.crt")
    client-key-data: $(base64 -w0 "$RUN/pki/$1.key")
contexts:
- name: $NAME
  context: {cluster: $NAME, user: $1}
current-context: $NAME
YAML
  chmod 600 "$2"
}

write_pki() {
  local service=kubernetes.default.svc name
  mkdir -p "$RUN/pki"
  openssl req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj "/CN=$NAME-cluster" \
    -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$RUN/pki/ca.key" -out "$RUN/pki/ca.crt" 2> /dev/null
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$RUN/pki/service-accounts.key" 2> /dev/null
  openssl pkey -in "$RUN/pki/service-accounts.key" -pubout -out "$RUN/pki/service-accounts.pub"
  certificate apiserver /CN=kube-apiserver \
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:10.96.0.1"
  certificate apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" "DNS:$NODE_NAME,IP:$NODE_IP,IP:$NODE_IP6"
  certificate admin /O=system:masters/CN=admin
  for name in kube-controller-manager kube-scheduler kube-proxy coredns; do certificate "$name" "/CN=system:$name"; done

  mkdir -p "$RUN/kubeconfigs"
  for name in kubelet kube-controller-manager kube-scheduler kube-proxy coredns; do
    kubeconfig "$name" "$RUN/kubeconfigs/$name"
  done
  kubeconfig admin "$ADMIN_KUBECONFIG"
}

write_kubelet() {
  cat > "$RUN/kubelet.yaml" << YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
enforceNodeAllocatable: [pods]
oomScoreAdj: 0           # a lower one needs CAP_SYS_RESOURCE
failSwapOn: false
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $RUN/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $RUN/pki/kubelet.crt
tlsPrivateKeyFile: $RUN/pki/kubelet.key
clusterDomain: cluster.local
clusterDNS: [$NODE_IP]
resolvConf: $RUN/resolv.conf
serializeImagePulls: false
# The host's disk is not the cluster's: nothing is evicted or collected for it.
evictionHard: {memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
YAML
  : > "$RUN/resolv.conf"
}

write_kube_proxy() {
  cat > "$RUN/kube-proxy.yaml" << YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $RUN/kubeconfigs/kube-proxy}
hostnameOverride: $NODE_NAME
clusterCIDR: $POD_CIDR,$POD_CIDR6
oomScoreAdj: 0
# The conntrack table's size is the host's to set.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
YAML
}

write_containerd() {
  cat > "$RUN/containerd.toml" << TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "postern.dev/pause:1"
  restrict_oom_score_adj = true   # for machines without CAP_SYS_RESOURCE
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$PARTS/root/usr/lib/cni"
  conf_dir = "$RUN/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "$PARTS/sbin/runc"
  SystemdCgroup = false
TOML
  mkdir -p "$RUN/cni"
  cat > "$RUN/cni/pods.conflist" << JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local",
     "ranges": [[{"subnet": "$POD_CIDR"}], [{"subnet": "$POD_CIDR6"}]],
     "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
JSON
}

write_coredns() {
  cat > "$RUN/Corefile" << COREFILE
.:53 {
  ready 127.0.0.1:8181
  errors
  cache 5
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $RUN/kubeconfigs/coredns
    pods insecure
    ttl 5
  }
}
COREFILE
}

write_config() {
  write_pki
  write_kubelet
  write_kube_proxy
  write_containerd
  write_coredns
}
