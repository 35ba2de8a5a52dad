// A network as a checkpoint describes it.
#include "fuzz/json_change.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/model/description.hpp"

namespace sherd::fuzz {
namespace {

Tree rotary_of(const kernels::Rotary& r) {
  constexpr std::array names = {"none", "linear", "llama3"};
  return {{"theta", r.theta},
          {"scaling", names[static_cast<std::size_t>(r.scaling)]},
          {"factor", r.factor},
          {"low_freq_factor", r.low_freq_factor},
          {"high_freq_factor", r.high_freq_factor},
          {"original_context", r.original_context}};
}

Tree numbers_of(const auto& c) {
  return {{"layers", c.layers},       {"heads", c.heads},           {"width", c.width},
          {"ffn_width", c.ffn_width}, {"vocab_size", c.vocab_size}, {"context", c.context}};
}

Tree tree_of(const model::Gpt2Config& c) {
  Tree tree = numbers_of(c);
  tree.update(Tree{{"architecture", "gpt2"}, {"dropout", 0.1}, {"eps", 1e-5}});
  return tree;
}
Tree tree_of(const model::LlamaConfig& c) {
  constexpr std::array names = {"llama", "qwen2", "qwen3"};
  Tree tree = numbers_of(c);
  tree.update(Tree{{"architecture", "llama"},
                   {"kind", names[static_cast<std::size_t>(c.kind)]},
                   {"kv_heads", c.kv_heads},
                   {"head_dim", c.head_dim},
                   {"rotary", rotary_of(c.rotary)},
                   {"eps", 1e-6},
                   {"tied", c.tied}});
  return tree;
}

}  // namespace

bool accepts(const std::string& input) {
  model::Architecture read;
  try {
    read = model::parse_description("step-1", input);
  } catch (const DataError& error) {
    promised(std::string_view(error.what()).starts_with("step-1: "), "the checkpoint is named");
    return false;
  }
  promised(problems_of(read).empty(), "what is accepted can be trained");
  const Tree was = Tree::parse(input);
  std::visit(
      [&](const auto& c) {
        promised(is_contained(numbers_of(c), was), "numbers are as they stand");
        promised(c.eps > 0 && c.eps < 1, "eps is in range");
      },
      read);
  return true;
}

std::string seed(Random& random) {
  const std::span<const model::Preset> all = model::presets();
  const model::Preset& one = all[random.below(all.size())];
  Tree tree = std::visit([](const auto& c) { return tree_of(c); }, one.architecture);
  const bool gpt2 = tree.at("architecture") == "gpt2";
  if (random.one_in(2))
    tree["lora"] = {{"rank", 1 + random.below(64)},
                    {"alpha", 16},
                    {"targets", {gpt2 ? "c_fc" : "up_proj", gpt2 ? "c_attn" : "q_proj"}}};
  return tree.dump();
}

std::string changed(const std::string& input, Random& random, const ChangeBytes& change) {
  return changed_json(input, random, change);
}

}  // namespace sherd::fuzz
