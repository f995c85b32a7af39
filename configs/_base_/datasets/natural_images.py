# Natural images to train teachers, in any folder, such as the training part of
# ImageNet. They must not contain images of an anomaly detection data set.
data_root = '{{$MMAD_DATA:data}}/natural_images'

train_dataloader = dict(
    batch_size=64,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='RunningIndexSampler', shuffle=True),
    dataset=dict(
        type='NaturalImages',
        data_root=data_root,
        length=64000,
        forbidden_roots=[
            '{{$MMAD_DATA:data}}/mvtec_ad',
            '{{$MMAD_DATA:data}}/mvtec_ad_2',
            '{{$MMAD_DATA:data}}/visa',
            '{{$MMAD_DATA:data}}/btad',
            '{{$MMAD_DATA:data}}/mpdd',
            '{{$MMAD_DATA:data}}/mvtec_loco',
            '{{$MMAD_DATA:data}}/magnetic_tile',
            '{{$MMAD_DATA:data}}/own',
            '{{$MMAD_DATA:data}}/demo',
        ]))
