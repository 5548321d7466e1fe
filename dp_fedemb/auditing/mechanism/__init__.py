"""The mechanism alone, attacked as a black box: sums go in, releases come out."""
