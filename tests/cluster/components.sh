# shellcheck shell=bash
# The command line of each component of the cluster.

ETCD=http://127.0.0.1:2379

# component NAME: becomes that component.
component() {
  local pki=$RUN/pki kubeconfig=$RUN/kubeconfigs/$1
  export PATH=$PARTS/sbin:$PARTS/bin:/usr/sbin:/usr/bin:/sbin:/bin
  case $1 in
    etcd)
      exec etcd --data-dir=/var/lib/etcd --unsafe-no-fsync \
        --listen-client-urls=$ETCD --advertise-client-urls=$ETCD --listen-peer-urls=http://127.0.0.1:2380 ;;
    containerd)
      export LD_LIBRARY_PATH=$NODE_LIBS
      exec containerd --config "$RUN/containerd.toml" ;;
    kube-apiserver)
      exec kube-apiserver --etcd-servers=$ETCD --secure-port=6443 --bind-address=0.0.0.0 \
        --advertise-address="$NODE_IP" --service-cluster-ip-range="$SERVICE_CIDRS" \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
        --client-ca-file="$pki/ca.crt" --kubelet-certificate-authority="$pki/ca.crt" \
        --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" \
        --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file="$pki/service-accounts.pub" \
        --service-account-signing-key-file="$pki/service-accounts.key" \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true ;;
    kube-controller-manager)
      # The default of 20 requests a second would make every test wait for it.
      exec kube-controller-manager --kubeconfig="$kubeconfig" --leader-elect=false --bind-address=127.0.0.1 \
        --kube-api-qps=300 --kube-api-burst=500 --use-service-account-credentials=true \
        --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
        --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" ;;
    kube-scheduler)
      exec kube-scheduler --kubeconfig="$kubeconfig" --leader-elect=false --bind-address=127.0.0.1 ;;
    kubelet)
      exec kubelet --config="$RUN/kubelet.yaml" --kubeconfig="$kubeconfig" --hostname-override="$NODE_NAME" \
        --node-ip="$NODE_IP,$NODE_IP6" ;;
    kube-proxy)
      export LD_LIBRARY_PATH=$NODE_LIBS   # for nft
      exec kube-proxy --config="$RUN/kube-proxy.yaml" ;;
    coredns)
      exec coredns -conf "$RUN/Corefile" ;;
    *)
      echo "there is no component '$1'"; exit 1 ;;
  esac
}
