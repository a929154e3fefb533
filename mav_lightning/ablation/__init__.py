"""Ablation studies: a question, a recipe, named variants and seeds → paired results in one report."""
