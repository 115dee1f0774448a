"""The tree of programs that `edgeward up` starts and keeps."""
