"""The HTTP edge: it speaks gRPC to the services, holds the enrolled embeddings, and draws faces for those who ask."""
