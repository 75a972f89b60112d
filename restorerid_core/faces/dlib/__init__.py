"""dlib's public-domain networks: detection, landmarks, and a recogniser that passes gradients."""
