"""The first tables of schema `botdata`: what its first versions make, by what the tables are for."""
