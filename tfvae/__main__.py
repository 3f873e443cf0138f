"""`python -m tfvae` is `tfvae`."""

from tfvae.cli import main

if __name__ == "__main__":
    main()
