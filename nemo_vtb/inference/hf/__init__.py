"""What ``nemo_vtb.hf`` brings to Transformers: config, processor and model of folders that ``vtb export`` writes."""
