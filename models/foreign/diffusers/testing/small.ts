/** @file Configurations of small networks of every class of diffusers, on maps of 8×8. */
export const SMALL: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  UNet2DModel: {
    block_out_channels: [8, 8],
    down_block_types: ['DownBlock2D', 'AttnDownBlock2D'],
    up_block_types: ['AttnUpBlock2D', 'UpBlock2D'],
    norm_num_groups: 4,
    layers_per_block: 1,
    num_class_embeds: 3,
    sample_size: 8,
    out_channels: 6,
  },
  UNet2DConditionModel: {
    ...{
      block_out_channels: [8, 8],
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D'],
      up_block_types: ['CrossAttnUpBlock2D', 'UpBlock2D'],
    },
    ...{ norm_num_groups: 4, layers_per_block: 1, cross_attention_dim: 6, attention_head_dim: 2, sample_size: 8, time_cond_proj_dim: 4 },
    ...{ addition_embed_type: 'text_time', addition_time_embed_dim: 4, projection_class_embeddings_input_dim: 29 },
  },
  DiTTransformer2DModel: {
    num_attention_heads: 2,
    attention_head_dim: 4,
    num_layers: 2,
    sample_size: 8,
    num_embeds_ada_norm: 3,
    out_channels: 8,
  },
  PixArtTransformer2DModel: {
    num_attention_heads: 3,
    attention_head_dim: 4,
    num_layers: 2,
    sample_size: 8,
    cross_attention_dim: 12,
    caption_channels: 5,
    use_additional_conditions: true,
  },
  SD3Transformer2DModel: {
    ...{
      num_attention_heads: 2,
      attention_head_dim: 4,
      num_layers: 2,
      sample_size: 8,
      in_channels: 4,
      out_channels: 4,
      pos_embed_max_size: 8,
    },
    ...{ joint_attention_dim: 6, caption_projection_dim: 8, pooled_projection_dim: 5 },
  },
  SanaTransformer2DModel: {
    ...{
      num_attention_heads: 2,
      attention_head_dim: 4,
      num_layers: 2,
      sample_size: 8,
      in_channels: 4,
      out_channels: 4,
      guidance_embeds: true,
    },
    ...{ num_cross_attention_heads: 2, cross_attention_head_dim: 4, cross_attention_dim: 8, caption_channels: 6, timestep_scale: 0.001 },
  },
  FluxTransformer2DModel: {
    ...{ num_attention_heads: 2, attention_head_dim: 8, num_layers: 1, num_single_layers: 1, in_channels: 16, axes_dims_rope: [2, 2, 4] },
    ...{ joint_attention_dim: 6, pooled_projection_dim: 5, guidance_embeds: true },
  },
};
