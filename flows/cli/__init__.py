"""The program `mat2spec`: one module for the options and the help of each command."""
