"""The Kubernetes side of `semface ops`: what a cluster lacks, how an installation is, new networks step by step."""
