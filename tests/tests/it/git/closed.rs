//! What a container has written makes the host's git run nothing, and read nothing else.
