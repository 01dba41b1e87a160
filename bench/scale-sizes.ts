/** @file The configurations of networks that people use, as their checkpoints hold them. */

export interface Size {
  readonly config: Readonly<Record<string, unknown>>;
  /** Side of the latents of one evaluation. */
  readonly side: number;
  /** Of the stored checkpoint. */
  readonly dtype: 'F32' | 'F16';
}

const unet = {
  _class_name: 'UNet2DConditionModel',
  in_channels: 4,
  out_channels: 4,
  layers_per_block: 2,
  norm_num_groups: 32,
  act_fn: 'silu',
};

export const SIZES: Readonly<Record<string, Size>> = {
  // DiT-XL/2 at 256×256 pixels. Peebles and Xie 2022.
  'dit-xl': {
    side: 32,
    dtype: 'F32',
    config: {
      _class_name: 'DiTTransformer2DModel',
      in_channels: 4,
      out_channels: 8,
      sample_size: 32,
      patch_size: 2,
      num_layers: 28,
      num_attention_heads: 16,
      attention_head_dim: 72,
      num_embeds_ada_norm: 1000,
      norm_type: 'ada_norm_zero',
      norm_elementwise_affine: false,
      attention_bias: true,
      activation_fn: 'gelu-approximate',
    },
  },
  // Stable Diffusion 1.5 at 512×512 pixels.
  sd15: {
    side: 64,
    dtype: 'F32',
    config: {
      ...unet,
      sample_size: 64,
      block_out_channels: [320, 640, 1280, 1280],
      down_block_types: ['CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D', 'DownBlock2D'],
      up_block_types: ['UpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'CrossAttnUpBlock2D'],
      cross_attention_dim: 768,
      attention_head_dim: 8,
    },
  },
  // SDXL at 1024×1024 pixels.
  sdxl: {
    side: 128,
    dtype: 'F16',
    config: {
      ...unet,
      sample_size: 128,
      block_out_channels: [320, 640, 1280],
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
      up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
      cross_attention_dim: 2048,
      attention_head_dim: [5, 10, 20],
      transformer_layers_per_block: [1, 2, 10],
      use_linear_projection: true,
      addition_embed_type: 'text_time',
      addition_time_embed_dim: 256,
      projection_class_embeddings_input_dim: 2816,
    },
  },
};
