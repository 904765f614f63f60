"""Train and test one model: ``python train.py [data=…] [model=…] [+ablation=…] [any.override=…]``."""

from mmsa_lightning.experiment.app import main

if __name__ == "__main__":
    main()
