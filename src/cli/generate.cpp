#include "cli/generate.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/clock.hpp"
#include "cli/stop_text.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/log.hpp"
#include "sherd/engine/generator.hpp"
#include "sherd/launch/machine.hpp"

namespace sherd::cli {
namespace {

// Says what it takes before it is taken.
void require_memory(const engine::GeneratorMemory& need, const engine::GeneratorConfig& config) {
  const Bytes free = launch::free_memory();
  log::info(
      fmt::format("{} of weights in {}, {} of keys and values for {} positions, {} to work "
                  "in: {:.1f} % of the memory that is free",
                  format_bytes(need.weights), name_of(config.compute), format_bytes(need.cache),
                  config.capacity, format_bytes(need.work),
                  100.0 * static_cast<double>(need.total()) / static_cast<double>(free)));
  if (need.total() <= free) return;
  throw CapacityError(fmt::format(
      "generate: needs {}, and {} of memory are free; smaller: --dtype bf16, fewer --max-tokens",
      format_bytes(need.total()), format_bytes(free)));
}

/// Decimal digits, and nothing that is silently another number.
template <class Number>
CLI::Validator whole() {
  return CLI::Validator(
      [](std::string& text) {
        Number value{};
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc{} || end != text.data() + text.size())
          return "got '" + text + "', need a whole number";
        text = std::to_string(value);
        return std::string();
      },
      "");
}

}  // namespace

struct Generate::Text {
  std::vector<std::int32_t> prompt, tokens;
  std::string text;
  const char* end = "max_tokens";  // why it is no longer: end_token, stop, max_tokens or context
  engine::GeneratorMemory memory;
  double load_seconds = 0, prompt_seconds = 0, seconds = 0;  // the last: of all tokens behind one

  [[nodiscard]] double rate() const {
    return tokens.size() > 1 ? static_cast<double>(tokens.size() - 1) / std::max(seconds, 1e-9) : 0;
  }
};

Generate::Generate(CLI::App& app)
    : app_(app.add_subcommand("generate", "Continue a text with a trained network.")) {
  app_->add_option("--model", source_.model, "a folder in Hugging Face layout")->type_name("DIR");
  app_->add_option("--checkpoint", source_.checkpoint,
                   "a checkpoint, or a folder of them: its newest")
      ->type_name("DIR");
  app_->add_option("--prompt", prompt_, "the text that is continued")->type_name("TEXT");
  app_->add_option("--prompt-tokens", prompt_tokens_, "or its tokens")
      ->delimiter(',')
      ->transform(whole<std::int64_t>())
      ->type_name("N,N,…");
  app_->add_option("--max-tokens", max_tokens_, "tokens after which it ends")
      ->transform(whole<std::int64_t>())
      ->capture_default_str();
  app_->add_option("--temperature", sampling_.temperature,
                   "logits are divided by it; 0: always the most likely token")
      ->capture_default_str();
  app_->add_option("--top-k", sampling_.top_k, "draw from the K most likely tokens; 0: from all")
      ->transform(whole<std::int64_t>())
      ->capture_default_str();
  app_->add_option("--top-p", sampling_.top_p,
                   "draw from the most likely tokens that together have this probability")
      ->capture_default_str();
  app_->add_option("--seed", sampling_.seed, "equal seeds give equal text")
      ->transform(whole<std::uint64_t>())
      ->capture_default_str();
  app_->add_option("--stop", stops_, "ends before this text; more than once: any of them")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->type_name("TEXT");
  app_->add_option("--tokenizer", source_.tokenizer,
                   "a tokenizer.json; auto: the folder's own or the run's, else bytes")
      ->type_name("FILE|bytes|auto")
      ->capture_default_str();
  app_->add_option("--dtype", dtype_, "of weights, activations and cache")
      ->type_name("fp32|bf16|fp16")
      ->capture_default_str();
  app_->add_option("--device", device_, "the CPU, for now")
      ->type_name("auto|cpu")
      ->capture_default_str();
  app_->add_option("--threads", threads_, "change no bit; 0: cores this process may use")
      ->transform(whole<std::int64_t>())
      ->capture_default_str();
  app_->add_flag("--random-init", source_.random_init,
                 "random weights where there are none: a preset's, or what the folder lacks");
  app_->add_flag("--json", json_,
                 "one JSON line on stdout at the end, instead of text as it comes");
  app_->add_flag("--quiet", quiet_, "no line about memory and speed on stderr");
  app_->footer("\nExample: sherd generate --checkpoint runs/a --prompt 'The licence' --top-p 0.9");
}

bool Generate::parsed() const { return app_->parsed(); }

void Generate::check() const {
  std::vector<std::string> problems = model::problems_of(sampling_);
  if (source_.model.empty() == source_.checkpoint.empty())
    problems.emplace_back("generate: need either --model or --checkpoint");
  if (prompt_.empty() == prompt_tokens_.empty())
    problems.emplace_back("--prompt: needed, and not empty; or --prompt-tokens instead of it");
  if (max_tokens_ < 1)
    problems.push_back(fmt::format("--max-tokens: got {}, need 1 or more", max_tokens_));
  if (threads_ < 0 || threads_ > 1024)
    problems.push_back(fmt::format("--threads: got {}, need 0 to 1024", threads_));
  if (dtype_ != "fp32" && dtype_ != "bf16" && dtype_ != "fp16")
    problems.push_back(fmt::format("--dtype: got '{}', need one of fp32, bf16, fp16", dtype_));
  if (device_ != "auto" && device_ != "cpu")
    problems.push_back(fmt::format(
        "--device: got '{}', need auto or cpu: generation has no other way yet", device_));
  if (std::ranges::any_of(stops_, [](const std::string& stop) { return stop.empty(); }))
    problems.emplace_back("--stop: got an empty text, need one that can be found");
  if (source_.random_init && source_.model.empty())
    problems.emplace_back("--random-init: belongs to --model; a checkpoint has all its weights");
  if (!problems.empty()) throw ConfigError(std::move(problems));
}

std::vector<std::int32_t> Generate::prompt_of(const GenerateSource& source) const {
  const std::int64_t vocab = source.network.vocab_size, context = source.network.context;
  std::vector<std::int32_t> prompt;
  for (const std::int64_t token : prompt_tokens_) {
    if (token < 0 || token >= vocab)
      throw ConfigError({fmt::format("--prompt-tokens: got {}, need 0 to {}", token, vocab - 1)});
    prompt.push_back(static_cast<std::int32_t>(token));
  }
  if (prompt_tokens_.empty()) prompt = source.codec.encode(prompt_);
  for (const std::int32_t token : prompt) {
    if (token >= vocab)
      throw DataError(fmt::format(
          "--prompt: has token {}, but the network knows {}; is {} its "
          "tokenizer?",
          token, vocab, source.codec.tokenizer() ? source.codec.tokenizer()->name() : "bytes"));
  }
  if (std::ssize(prompt) > context)
    throw ConfigError({fmt::format("--prompt: got {} tokens, need at most the context of {}",
                                   prompt.size(), context)});
  return prompt;
}

Generate::Text Generate::text_of(GenerateSource& source, std::vector<std::int32_t> prompt) const {
  const model::Network& network = source.network;
  // Nobody asks what follows the last token, so it needs no position.
  const std::int64_t room = std::min(max_tokens_, network.context - std::ssize(prompt) + 1);
  const engine::GeneratorConfig config{
      .compute = dtype_ == "fp32"   ? DType::f32
                 : dtype_ == "bf16" ? DType::bf16
                                    : DType::f16,
      .threads = threads_ > 0 ? static_cast<int>(threads_) : launch::usable_cores(),
      .vocab_size = network.vocab_size,
      .capacity = std::ssize(prompt) + room - 1};
  Text text;
  text.prompt = std::move(prompt);
  text.memory = engine::Generator::plan(network.model, config);
  require_memory(text.memory, config);
  auto begin = Clock::now();
  engine::Generator generator(network.model, config);
  generator.load(*source.weights(generator.spec()));
  text.load_seconds = seconds_since(begin);

  begin = Clock::now();
  std::span<const float> logits = generator.extend(text.prompt);
  text.prompt_seconds = seconds_since(begin);
  model::Sampler sampler(sampling_, network.vocab_size);
  StopText stop(stops_);
  const auto show = [&](const std::string& piece) {
    text.text += piece;
    if (!json_ && !piece.empty()) std::cout << piece << std::flush;
  };
  begin = Clock::now();
  for (std::int64_t i = 0; i < room; ++i) {
    const std::int32_t token =
        sampler.draw(logits, static_cast<std::uint64_t>(std::ssize(text.prompt) + i));
    text.tokens.push_back(token);
    if (std::ranges::find(source.ends, token) != source.ends.end()) {
      text.end = "end_token";
      break;
    }
    show(stop.push(source.codec.push(token)));
    if (stop.stopped()) break;
    if (i + 1 < room) logits = generator.extend({&token, 1});
  }
  text.seconds = seconds_since(begin);
  show(stop.push(source.codec.finish()));
  show(stop.finish());
  if (stop.stopped()) text.end = "stop";
  if (text.end == std::string_view("max_tokens") && room < max_tokens_) text.end = "context";
  return text;
}

void Generate::write(const Text& text) const {
  if (!json_) {
    std::cout << std::endl;
    log::info(
        fmt::format("{} tokens ({}); weights {:.2f} s, prompt of {} {:.2f} s, then {:.1f} "
                    "tokens/s",
                    text.tokens.size(), text.end, text.load_seconds, text.prompt.size(),
                    text.prompt_seconds, text.rate()));
    return;
  }
  const nlohmann::ordered_json line = {{"prompt_tokens", text.prompt},
                                       {"tokens", text.tokens},
                                       {"text", text.text},
                                       {"end", text.end},
                                       {"load_seconds", text.load_seconds},
                                       {"prompt_seconds", text.prompt_seconds},
                                       {"seconds", text.seconds},
                                       {"tokens_per_second", text.rate()},
                                       {"memory",
                                        {{"weights", text.memory.weights},
                                         {"cache", text.memory.cache},
                                         {"work", text.memory.work}}}};
  std::cout << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

int Generate::run() {
  check();
  if (quiet_ || json_) log::set_quiet(true);
  source_.seed = sampling_.seed;
  source_.reads_text = !prompt_.empty();
  GenerateSource source = open_source(source_);
  std::vector<std::int32_t> prompt = prompt_of(source);
  write(text_of(source, std::move(prompt)));
  return 0;
}

}  // namespace sherd::cli
