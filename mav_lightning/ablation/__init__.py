"""Ablation studies: a question, a recipe, named variants and seeds; their trials, paired statistics and report."""
