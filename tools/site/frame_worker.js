// A browser starts no worker for a page that was opened as a file. Search needs one, so there it
// gets a hidden frame that behaves like one.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    #frame = document.createElement("iframe");
    #channel = new MessageChannel(); // keeps what is sent before the script has loaded

    constructor(url) {
      super();
      this.#channel.port1.onmessage = ({ data }) => {
        this.#tell("message", new MessageEvent("message", { data }));
      };
      this.#frame.hidden = true;
      this.#frame.srcdoc = "<!doctype html>";
      this.#frame.onload = () => this.#start(new URL(url, location.href).href);
      document.documentElement.append(this.#frame);
    }

    #start(url) {
      const inside = this.#frame.contentWindow;
      const port = this.#channel.port2;
      inside.postMessage = (data) => port.postMessage(data);
      const script = inside.document.createElement("script");
      script.src = url;
      script.onload = () => {
        port.onmessage = ({ data }) => {
          inside.dispatchEvent(new MessageEvent("message", { data }));
        };
      };
      script.onerror = () => this.#tell("error", new ErrorEvent("error"));
      inside.document.body.append(script);
    }

    #tell(kind, event) {
      this[`on${kind}`]?.(event);
      this.dispatchEvent(event);
    }

    postMessage(data) {
      this.#channel.port1.postMessage(data);
    }

    terminate() {
      this.#channel.port1.close();
      this.#frame.remove();
    }
  };
}
