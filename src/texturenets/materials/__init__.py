"""Materials: several maps of one surface in register, such as colour, normals, roughness and height.

`maps`: the maps that there are, and a set of them in memory. `reading`, `writing`: folders of image files. `gltf`:
the glTF file of a set. `preview`: a picture of a lit sphere and plane. `material`: a network that draws sets of maps.
"""
