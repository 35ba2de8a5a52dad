#include "sherd/model/description.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "sherd/base/errors.hpp"

using namespace sherd;
using nlohmann::json;

TEST_CASE("every preset comes back from its description") {
  for (const model::Preset& preset : model::presets()) {
    CAPTURE(preset.name);
    const std::string text = model::build(preset.architecture).description;
    CHECK(model::parse_description("x", text) == preset.architecture);
  }
}

TEST_CASE("what a preset does not have comes back too") {
  model::Gpt2Config gpt2{2, 3, 72, 100, 259, 33};
  gpt2.dropout = 0.1f;
  gpt2.eps = 3e-6f;
  model::LlamaConfig llama{.layers = 1,
                           .heads = 4,
                           .kv_heads = 2,
                           .head_dim = 30,
                           .width = 72,
                           .ffn_width = 100,
                           .vocab_size = 259,
                           .context = 33};
  llama.rotary = {.theta = 12345.5, .scaling = kernels::RotaryScaling::linear, .factor = 3.25};
  for (const model::Architecture& one : {model::Architecture(gpt2), model::Architecture(llama)})
    CHECK(model::parse_description("x", model::build(one).description) == one);
}

TEST_CASE("a description with anything missing or out of range is refused by its name") {
  for (const char* name : {"gpt2-tiny", "llama3.2-1b"}) {
    const json good = json::parse(model::build({.model = name}).description);
    for (const auto& [key, value] : good.items()) {
      if (key == "dropout" || key == "loss_chunk_rows" || key == "tied") continue;
      CAPTURE(key);
      json bad = good;
      bad.erase(key);
      CHECK_THROWS_AS((void)model::parse_description("x", bad.dump()), DataError);
      for (const json& odd : {json(-1), json("y"), json::array(), json(1e300)}) {
        bad[key] = odd;
        CHECK_THROWS_AS((void)model::parse_description("x", bad.dump()), DataError);
      }
    }
    json bad = good;
    bad["heads"] = 5;
    CHECK_THROWS_WITH_AS((void)model::parse_description("runs/a", bad.dump()),
                         doctest::Contains("runs/a: model: "), DataError);
  }
}

TEST_CASE("the description of somebody's own network is no network of the zoo") {
  for (const char* text : {"", "[]", "3", "{}", "{\"architecture\":\"mine\"}", "{", "my network"}) {
    CAPTURE(text);
    CHECK_THROWS_AS((void)model::parse_description("x", text), DataError);
  }
}
